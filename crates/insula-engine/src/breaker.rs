//! Breakers: what keeps failing is left alone for a while, by all runs of the process.
//!
//! A breaker belongs to a dependency and not to a user: what is down is down for everybody, and each user's runs would
//! otherwise have to find that out by failing. It holds times of failures and nothing else, so all that one user can learn
//! of others by it is that the dependency has failed. A tool that only one user has is that user's own dependency, unless
//! it [names one](insula_agent::ToolSpec::depends_on) that it shares.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_agent::{BreakerPolicy, ToolFailure};
use insula_context::{Clock, Timestamp, UserScope};

/// What a breaker is on: something shared by name, or one user's own tool.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Dependency {
    pub owner: Option<UserScope>,
    pub name: String,
}

#[derive(Debug)]
enum State {
    /// Calls are made. When the last ones failed, oldest first.
    Closed(VecDeque<Timestamp>),
    /// Calls are refused until then.
    Open(Timestamp),
    /// One call is being made to see how it is. `number` tells it from calls that began before; it is given up by `until`.
    Probing { number: u64, until: Timestamp },
}

/// The breakers of all dependencies that have failed lately. One that works has none.
#[derive(Debug)]
pub(crate) struct Breakers {
    states: Mutex<HashMap<Dependency, State>>,
    probes: std::sync::atomic::AtomicU64,
    clock: Arc<dyn Clock>,
}

/// The right to make one call. Whoever has it says how the call went; dropped without that, it says nothing.
#[derive(Debug)]
pub(crate) struct Pass {
    breakers: Arc<Breakers>,
    dependency: Dependency,
    policy: BreakerPolicy,
    /// The number of the probe that this call is, if it is one.
    probe: Option<u64>,
}

/// How a call went, as far as its dependency is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Works,
    Fails,
}

impl Breakers {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { states: Mutex::default(), probes: std::sync::atomic::AtomicU64::new(0), clock })
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Dependency, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to make a call. Refused while the breaker is open, and while another call finds out whether it may close.
    pub(crate) fn pass(self: &Arc<Self>, dependency: Dependency, policy: BreakerPolicy) -> Result<Pass, ToolFailure> {
        let now = self.clock.now();
        let probe = match self.states().get_mut(&dependency) {
            None | Some(State::Closed(_)) => None,
            Some(State::Open(until) | State::Probing { until, .. }) if *until > now => {
                return Err(ToolFailure::Unavailable { dependency: dependency.name, retry_after: until.since(now) });
            }
            Some(state) => {
                let number = self.probes.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                // A call that never ends does not keep everybody out for ever.
                *state = State::Probing { number, until: now.plus(policy.recovery) };
                Some(number)
            }
        };
        Ok(Pass { breakers: Arc::clone(self), dependency, policy, probe })
    }

    /// How many dependencies have failed lately.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.states().len()
    }
}

impl Pass {
    /// Says how the call went.
    pub(crate) fn say(mut self, verdict: Verdict) {
        let now = self.breakers.clock.now();
        let probe = self.probe.take();
        let mut states = self.breakers.states();
        let mine = match states.get(&self.dependency) {
            None | Some(State::Closed(_)) => probe.is_none(),
            Some(State::Probing { number, .. }) => probe == Some(*number),
            Some(State::Open(_)) => false,
        };
        // What began before the breaker opened says nothing of how it is now.
        if !mine {
            return;
        }
        match (verdict, states.get_mut(&self.dependency)) {
            (Verdict::Works, _) => drop(states.remove(&self.dependency)),
            (Verdict::Fails, Some(state @ State::Probing { .. })) => {
                *state = State::Open(now.plus(self.policy.recovery));
            }
            (Verdict::Fails, state) => {
                let failed = match state {
                    Some(State::Closed(failed)) => std::mem::take(failed),
                    _ => VecDeque::new(),
                };
                states.insert(self.dependency.clone(), failed_again(failed, now, &self.policy));
            }
        }
    }
}

impl Drop for Pass {
    /// A probe that was stopped has found out nothing: the next call may.
    fn drop(&mut self) {
        let Some(probe) = self.probe else { return };
        let now = self.breakers.clock.now();
        if let Some(state @ State::Probing { .. }) = self.breakers.states().get_mut(&self.dependency)
            && matches!(state, State::Probing { number, .. } if *number == probe)
        {
            *state = State::Open(now);
        }
    }
}

fn failed_again(mut failed: VecDeque<Timestamp>, now: Timestamp, policy: &BreakerPolicy) -> State {
    failed.retain(|at| now.since(*at) < policy.window);
    failed.push_back(now);
    if failed.len() < usize::try_from(policy.failures.max(1)).unwrap_or(usize::MAX) {
        return State::Closed(failed);
    }
    // At least a moment, so that an open breaker is one that was closed to somebody.
    State::Open(now.plus(policy.recovery.max(Duration::from_micros(1))))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(self.0.load(Ordering::SeqCst))
        }
    }

    const SECOND: i64 = 1_000_000;

    struct Bench {
        hand: Arc<Hand>,
        breakers: Arc<Breakers>,
    }

    impl Bench {
        fn new() -> Self {
            let hand = Arc::new(Hand::default());
            let breakers = Breakers::new(Arc::clone(&hand) as Arc<dyn Clock>);
            Self { hand, breakers }
        }

        fn wait(&self, seconds: i64) {
            self.hand.0.fetch_add(seconds * SECOND, Ordering::SeqCst);
        }

        /// Three failures within ten seconds open it for five.
        fn pass(&self) -> Result<Pass, ToolFailure> {
            let policy = BreakerPolicy::new(3, Duration::from_secs(10), Duration::from_secs(5));
            self.breakers.pass(Dependency { owner: None, name: "search".to_owned() }, policy)
        }

        fn says(&self, verdicts: &[Verdict]) {
            verdicts.iter().for_each(|verdict| self.pass().unwrap().say(*verdict));
        }

        fn refused_for(&self) -> Duration {
            self.pass().unwrap_err().retry_after().unwrap()
        }
    }

    use Verdict::{Fails, Works};

    #[test]
    fn it_opens_after_as_many_failures_as_configured_and_says_when_to_come_back() {
        let bench = Bench::new();
        bench.says(&[Fails, Fails, Fails]);
        assert_eq!(bench.refused_for(), Duration::from_secs(5));
        bench.wait(2);
        assert_eq!(bench.refused_for(), Duration::from_secs(3));
    }

    #[test]
    fn old_failures_and_those_before_a_success_do_not_count() {
        let bench = Bench::new();
        bench.says(&[Fails, Fails, Works, Fails, Fails]);
        bench.wait(10);
        bench.says(&[Fails, Fails]);
        assert!(bench.pass().is_ok());
        bench.says(&[Works]);
        assert_eq!(bench.breakers.len(), 0, "what works takes no space");
    }

    #[test]
    fn after_the_recovery_one_call_finds_out_for_all() {
        for (verdict, then) in [(Works, None), (Fails, Some(Duration::from_secs(5)))] {
            let bench = Bench::new();
            bench.says(&[Fails, Fails, Fails]);
            bench.wait(5);
            let probe = bench.pass().unwrap();
            assert_eq!(bench.refused_for(), Duration::from_secs(5), "one at a time");
            probe.say(verdict);
            assert_eq!(bench.pass().err().and_then(|failure| failure.retry_after()), then);
        }
    }

    #[test]
    fn a_probe_that_is_dropped_or_never_ends_keeps_nobody_out_for_ever() {
        let bench = Bench::new();
        bench.says(&[Fails, Fails, Fails]);
        bench.wait(5);
        drop(bench.pass().unwrap());
        let endless = bench.pass().unwrap();
        assert!(bench.pass().is_err());
        bench.wait(5);
        let second = bench.pass().unwrap();
        // The first one's verdict comes too late to count, and its end does not end the second.
        endless.say(Fails);
        assert!(bench.pass().is_err());
        second.say(Works);
        assert!(bench.pass().is_ok());
    }

    #[test]
    fn a_call_that_began_before_it_opened_neither_closes_it_nor_keeps_it_open() {
        let bench = Bench::new();
        let (works, fails) = (bench.pass().unwrap(), bench.pass().unwrap());
        bench.says(&[Fails, Fails, Fails]);
        bench.wait(4);
        works.say(Works);
        fails.say(Fails);
        assert_eq!(bench.refused_for(), Duration::from_secs(1));
    }
}
