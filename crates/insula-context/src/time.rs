//! Time and ids are injected, so that a whole engine can run in virtual time from a seed.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// A point in time, in microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since 1970-01-01 UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this one; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This time plus a duration, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with microseconds, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok());
        match text {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} µs", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// Reads what [`Timestamp`] is written as, to the microsecond.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A time beyond the calendar is written as a number.
        if let Some(micros) = text.strip_suffix(" µs") {
            return micros.parse().map(Self).map_err(D::Error::custom);
        }
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(D::Error::custom)?;
        i64::try_from(at.unix_timestamp_nanos() / 1_000).map(Self).map_err(D::Error::custom)
    }
}

/// The only source of time.
///
/// Waiting is done with tokio's timers, which a test pauses and advances (`tokio::time::pause`); a clock answers
/// what the date is.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The date and time now. Never decreases within one process.
    fn now(&self) -> Timestamp;
}

/// The machine's clock, held so that it never decreases within the process.
///
/// It advances with tokio's timers, so a test that pauses those pauses this as well.
#[derive(Debug)]
pub struct SystemClock {
    started_at: i64,
    started: tokio::time::Instant,
}

impl SystemClock {
    /// Reads the machine's clock once; from then on time is counted by the monotonic one.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everyone else is to use")]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started_at: i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX),
            started: tokio::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.started_at).plus(self.started.elapsed())
    }
}

/// The only source of ids and randomness.
pub trait IdSource: Send + Sync + fmt::Debug {
    /// A fresh unique id, ordered by time of creation.
    fn next_id(&self) -> Uuid;
    /// A random value of 128 bits, for markers and tie-breaks. Not a secret.
    fn random(&self) -> u128;
}

/// Version 7 UUIDs and random bits from a fast per-thread generator. Unique, and not secret: an id is never a
/// capability.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn random(&self) -> u128 {
        Uuid::new_v4().as_u128()
    }
}

/// The id source of a context that was given none.
pub(crate) fn shared_ids() -> Arc<dyn IdSource> {
    static IDS: OnceLock<Arc<dyn IdSource>> = OnceLock::new();
    Arc::clone(IDS.get_or_init(|| Arc::new(RandomIds)))
}

/// The clock of a context that was given none.
pub(crate) fn shared_clock() -> Arc<dyn Clock> {
    static CLOCK: OnceLock<Arc<dyn Clock>> = OnceLock::new();
    Arc::clone(CLOCK.get_or_init(|| Arc::new(SystemClock::new())))
}

/// The same ids from the same seed, for tests and simulations.
#[derive(Debug)]
pub struct SeededIds {
    seed: u64,
    drawn: AtomicU64,
}

impl SeededIds {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), the usual way to spread a counter over 64 bits.
    fn draw(&self) -> u64 {
        let n = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut z = self.seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl IdSource for SeededIds {
    fn next_id(&self) -> Uuid {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&self.draw().to_be_bytes());
        uuid::Builder::from_unix_timestamp_millis(self.drawn.load(Ordering::Relaxed), &random).into_uuid()
    }

    fn random(&self) -> u128 {
        (u128::from(self.draw()) << 64) | u128::from(self.draw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_as_utc() {
        assert_eq!(Timestamp::from_micros(1_700_000_000_000_001).to_string(), "2023-11-14T22:13:20.000001Z");
    }

    #[test]
    fn the_same_seed_draws_the_same_distinct_ids() {
        let draw = |seed| {
            let ids = SeededIds::new(seed);
            (0..1_000).map(|_| ids.next_id()).collect::<Vec<_>>()
        };
        let (one, again, other) = (draw(7), draw(7), draw(8));
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert_eq!(one.iter().collect::<std::collections::HashSet<_>>().len(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_paused_timers() {
        let clock = SystemClock::new();
        let before = clock.now();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(clock.now().since(before), Duration::from_secs(3));
    }
}
