//! How often somebody may come: every user, every address, and, much more rarely, every address that guesses.
//!
//! Counted in this process alone. An IPv6 address counts as its /64, of which one customer has all.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{Quota, RateLimiter, middleware::NoOpMiddleware, state::keyed::HashMapStateStore};
use insula_context::{Clock, Timestamp, UserScope};

/// After that many requests, whoever has not come lately is forgotten.
const BETWEEN_SWEEPS: u32 = 16 * 1024;

/// Addresses with failures that are remembered, at most.
const FAILING: usize = 64 * 1024;

/// So many at once, and then one after each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: NonZeroU32,
}

impl Rate {
    /// That many in a second, and `burst` at once after a pause.
    pub fn per_second(count: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::per(Duration::from_secs(1), count, burst)
    }

    /// That many in a minute, and `burst` at once after a pause.
    pub fn per_minute(count: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::per(Duration::from_secs(60), count, burst)
    }

    /// More than one in a nanosecond is one in a nanosecond.
    fn per(time: Duration, count: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { interval: (time / count.get()).max(Duration::from_nanos(1)), burst }
    }

    fn quota(self) -> Quota {
        Quota::with_period(self.interval).expect("an interval is at least a nanosecond").allow_burst(self.burst)
    }
}

/// How often who may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateRules {
    /// Requests of one user: 1,000 a second, 2,000 at once.
    pub user: Rate,
    /// Requests from one address, whosever they are: 5,000 a second, 10,000 at once.
    pub address: Rate,
    /// Credentials from one address that were refused: 600 a minute, 300 at once. Beyond that the address waits, whatever it
    /// shows.
    pub failures: Rate,
}

impl Default for RateRules {
    fn default() -> Self {
        Self {
            user: Rate::per_second(count(1_000), count(2_000)),
            address: Rate::per_second(count(5_000), count(10_000)),
            failures: Rate::per_minute(count(600), count(300)),
        }
    }
}

const fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).expect("the defaults are not zero")
}

/// Too many. Says when to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests: come back in {retry_after:?}")]
pub struct Limited {
    /// How long to wait.
    pub retry_after: Duration,
}

/// Counts who comes how often, in bounded memory.
#[derive(Debug)]
pub struct Rates {
    users: Counted<UserScope>,
    addresses: Counted<IpAddr>,
    failures: Failures,
}

impl Rates {
    /// Nobody has come yet.
    pub fn new(rules: RateRules, clock: Arc<dyn Clock>) -> Self {
        Self {
            users: Counted::new(rules.user, Arc::clone(&clock)),
            addresses: Counted::new(rules.address, Arc::clone(&clock)),
            failures: Failures { rate: rules.failures, clock, until: Mutex::default() },
        }
    }

    /// Counts a request from this address. To be asked before the credential is looked at.
    ///
    /// # Errors
    /// [`Limited`] when it has come too often, or guessed too often.
    pub fn address(&self, address: IpAddr) -> Result<(), Limited> {
        let address = customer(address);
        self.failures.check(address)?;
        self.addresses.take(&address)
    }

    /// Notes that a credential from this address was refused.
    pub fn failed(&self, address: IpAddr) {
        self.failures.note(customer(address));
    }

    /// Counts a request of this user.
    ///
    /// # Errors
    /// [`Limited`] when there were too many.
    pub fn user(&self, scope: &UserScope) -> Result<(), Limited> {
        self.users.take(scope)
    }
}

/// What stands for everything that one customer can come from.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// The injected clock, as `governor` wants it.
#[derive(Debug, Clone)]
struct Ticks(Arc<dyn Clock>);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.now().since(Timestamp::from_micros(0))
    }
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, Ticks, NoOpMiddleware<Duration>>;

/// Requests by whom they are from.
struct Counted<K: Hash + Eq + Clone> {
    limiter: Limiter<K>,
    clock: Ticks,
    since_sweep: AtomicU32,
}

impl<K: Hash + Eq + Clone> Counted<K> {
    fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        let clock = Ticks(clock);
        let limiter = RateLimiter::new(rate.quota(), HashMapStateStore::default(), clock.clone());
        Self { limiter, clock, since_sweep: AtomicU32::new(0) }
    }

    fn take(&self, key: &K) -> Result<(), Limited> {
        self.sweep_now_and_then();
        let taken = self.limiter.check_key(key);
        taken.map_err(|until| Limited { retry_after: until.wait_time_from(governor::clock::Clock::now(&self.clock)) })
    }

    /// Each request adds one entry at most, so there are never more than lately came and [`BETWEEN_SWEEPS`].
    fn sweep_now_and_then(&self) {
        if self.since_sweep.fetch_add(1, Ordering::Relaxed) == BETWEEN_SWEEPS {
            self.since_sweep.store(0, Ordering::Relaxed);
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Counted<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} counted", self.limiter.len())
    }
}

/// Refused credentials by address. `governor` cannot say whether there is room without taking it, and who is let in must not
/// pay; so this is the same algorithm (GCRA) by hand. A failure that is noted although there was no room makes the wait
/// longer.
#[derive(Debug)]
struct Failures {
    rate: Rate,
    clock: Arc<dyn Clock>,
    /// By address: when all of its failures will be forgotten.
    until: Mutex<HashMap<IpAddr, Timestamp>>,
}

impl Failures {
    fn check(&self, address: IpAddr) -> Result<(), Limited> {
        let now = self.clock.now();
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner).get(&address).copied();
        // One more failure must fit.
        let room = self.rate.interval * (self.rate.burst.get() - 1);
        let retry_after = until.unwrap_or(now).since(now).saturating_sub(room);
        if retry_after.is_zero() { Ok(()) } else { Err(Limited { retry_after }) }
    }

    fn note(&self, address: IpAddr) {
        let (now, longest) = (self.clock.now(), self.rate.interval * self.rate.burst.get() * 2);
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= FAILING {
            until.retain(|_, until| *until > now);
        }
        // Where so many guess at once, those who are not remembered still have the limit of their address.
        if until.len() < FAILING || until.contains_key(&address) {
            let until = until.entry(address).or_insert(now);
            *until = (*until).max(now).plus(self.rate.interval).min(now.plus(longest));
        }
    }
}

#[cfg(test)]
mod tests {
    use insula_infra::conformance::ManualClock;

    use super::super::tests::scope_of;
    use super::*;

    fn rates(clock: &Arc<ManualClock>) -> Rates {
        let rules = RateRules {
            user: Rate::per_second(count(10), count(3)),
            address: Rate::per_second(count(100), count(50)),
            failures: Rate::per_minute(count(60), count(5)),
        };
        Rates::new(rules, Arc::clone(clock) as _)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_flood_of_one_user_is_not_another_users_limit() {
        let clock = Arc::new(ManualClock::new());
        let (rates, ada, bob) = (rates(&clock), scope_of("ada"), scope_of("bob"));
        let passed = (0..1_000).filter(|_| rates.user(&ada).is_ok()).count();
        assert_eq!(passed, 3);
        assert_eq!((0..3).filter(|_| rates.user(&bob).is_ok()).count(), 3);
    }

    #[test]
    fn says_when_to_come_back_and_means_it() {
        let clock = Arc::new(ManualClock::new());
        let (rates, ada) = (rates(&clock), scope_of("ada"));
        while rates.user(&ada).is_ok() {}
        let Limited { retry_after } = rates.user(&ada).expect_err("the burst is used up");
        assert_eq!(retry_after, Duration::from_millis(100));
        clock.advance(retry_after - Duration::from_micros(1));
        assert!(rates.user(&ada).is_err());
        clock.advance(Duration::from_micros(1));
        assert_eq!(rates.user(&ada), Ok(()));
        assert!(rates.user(&ada).is_err());
    }

    #[test]
    fn addresses_have_a_limit_of_their_own() {
        let clock = Arc::new(ManualClock::new());
        let rates = rates(&clock);
        assert_eq!((0..1_000).filter(|_| rates.address(ip("192.0.2.1")).is_ok()).count(), 50);
        assert_eq!(rates.address(ip("192.0.2.2")), Ok(()));
    }

    #[test]
    fn a_whole_network_of_ipv6_is_one_and_mapped_ipv4_is_ipv4() {
        assert_eq!(customer(ip("2001:db8:1:2:3:4:5:6")), customer(ip("2001:db8:1:2::1")));
        assert_ne!(customer(ip("2001:db8:1:2::1")), customer(ip("2001:db8:1:3::1")));
        assert_eq!(customer(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
        assert_ne!(customer(ip("::ffff:192.0.2.1")), customer(ip("::ffff:192.0.2.2")));
    }

    #[test]
    fn guessing_is_slow_however_fast_the_address_may_come() {
        let clock = Arc::new(ManualClock::new());
        let (rates, address) = (rates(&clock), ip("192.0.2.1"));
        let mut guesses = 0;
        for _ in 0..6_000 {
            if rates.address(address).is_ok() {
                rates.failed(address);
                guesses += 1;
            }
            clock.advance(Duration::from_millis(10));
        }
        // Five at once, and one in each of the sixty seconds.
        assert!((60..=65).contains(&guesses), "{guesses}");
    }

    #[test]
    fn who_does_not_guess_never_pays_for_it() {
        let clock = Arc::new(ManualClock::new());
        let (rates, guesser, other) = (rates(&clock), ip("192.0.2.1"), ip("192.0.2.2"));
        for _ in 0..100 {
            rates.failed(guesser);
        }
        let Limited { retry_after } = rates.address(guesser).expect_err("it has guessed a lot");
        assert!(retry_after <= Duration::from_secs(10), "{retry_after:?}");
        assert_eq!(rates.address(other), Ok(()));
        clock.advance(retry_after);
        assert_eq!(rates.address(guesser), Ok(()));
    }

    #[test]
    fn memory_does_not_grow_with_everybody_who_ever_came() {
        let clock = Arc::new(ManualClock::new());
        let rates = rates(&clock);
        for n in 0..200_000_u32 {
            rates.failed(IpAddr::V4(n.into()));
            let _ = rates.address(IpAddr::V4(n.into()));
            clock.advance(Duration::from_millis(1));
        }
        assert!(rates.addresses.limiter.len() <= BETWEEN_SWEEPS as usize + 1_000, "{rates:?}");
        let failing = rates.failures.until.lock().expect("no test panics while it holds it").len();
        assert!(failing <= FAILING, "{failing}");
        let guesser = ip("198.51.100.1");
        for _ in 0..10 {
            rates.failed(guesser);
        }
        assert!(rates.address(guesser).is_err(), "who comes now is still noticed");
    }
}
