//! Whether something that failed is done again, and after how long. Pure: what happened in, a delay out.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use insula_agent::{Effect, Error as AgentError, Jitter, RetryPolicy};
use insula_context::{Deadline, Timestamp};
use insula_infra::{EventType, NewEvent, WaitFor};

use crate::{
    core::RunCore,
    events::{self, Retrying},
    redact,
};

/// What has been tried so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tried {
    /// How many attempts there were, the one that failed last included.
    pub attempts: u32,
    /// The time since the first one began.
    pub elapsed: Duration,
    /// The time that is left.
    pub remaining: Duration,
}

/// How long to wait until the next attempt; `None` when there is to be none. The seed decides the jitter.
pub(crate) fn after(policy: &RetryPolicy, tried: Tried, error: &AgentError, seed: u64) -> Option<Duration> {
    if tried.attempts >= policy.attempts.max(1) || !policy.retries(error) {
        return None;
    }
    let backoff = backoff(policy, tried.attempts, seed)?;
    let delay = backoff.max(retry_after(error).unwrap_or_default());
    let in_time = policy.overall.is_none_or(|overall| tried.elapsed.saturating_add(delay) <= overall);
    // An attempt that cannot begin in time is not waited for: the error is said while somebody can still hear it.
    (in_time && delay < tried.remaining).then_some(delay)
}

/// Whether a call of a tool may be made again after this error.
pub(crate) const fn may_repeat(effect: Effect, error: &AgentError) -> bool {
    match (effect, error) {
        (Effect::Pure | Effect::Idempotent, _) => true,
        (_, AgentError::Tool { failure, .. }) => failure.had_no_effect(),
        _ => false,
    }
}

/// How long a run that failed waits until it begins again from the top; `None` when it has failed for good. `elapsed` is
/// the time since the run was accepted.
pub(crate) fn of_run(run: &RunCore, error: &AgentError, elapsed: Duration) -> Option<Duration> {
    let policy = run.class.retry_policy()?;
    let attempts = run.history.recorded().retries + 1;
    let remaining = run.context.deadline().map_or(Duration::MAX, Deadline::remaining);
    after(policy, Tried { attempts, elapsed, remaining }, error, seed(run))
}

/// `agent_waiting` of a run that begins again from the top. What is recorded after it belongs to the next attempt.
pub(crate) fn waiting(run: &RunCore, error: &AgentError, until: Timestamp) -> NewEvent {
    let error = redact::message(&error.to_string());
    let attempt = run.history.recorded().retries + 2;
    let said = Retrying { waiting_for: WaitFor::Timer.as_str(), attempt, error: &error, until };
    events::event(EventType::AgentWaiting, run.platform.clock.now(), &said)
}

/// Randomness for the jitter, from the engine's own source.
pub(crate) fn seed(run: &RunCore) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "64 of the 128 bits are wanted")]
    let seed = run.platform.ids.random() as u64;
    seed
}

fn backoff(policy: &RetryPolicy, attempts: u32, seed: u64) -> Option<Duration> {
    let builder = ExponentialBuilder::new()
        .with_min_delay(policy.first_delay.min(policy.longest_delay))
        .with_max_delay(policy.longest_delay)
        .with_factor(policy.factor.max(1.0))
        .without_max_times();
    let builder = match policy.jitter {
        Jitter::Full => builder.with_jitter().with_jitter_seed(seed),
        Jitter::None => builder,
    };
    builder.build().nth(usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX))
}

fn retry_after(error: &AgentError) -> Option<Duration> {
    match error {
        AgentError::Tool { failure, .. } => failure.retry_after(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use insula_agent::ToolFailure;

    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn passing() -> AgentError {
        AgentError::Unavailable { what: "search", problem: "it restarts".to_owned() }
    }

    fn tool(failure: ToolFailure) -> AgentError {
        AgentError::Tool { tool: "search".to_owned(), failure, cause: None }
    }

    fn policy() -> RetryPolicy {
        RetryPolicy::new(4).first_delay(secs(1)).longest_delay(secs(3)).jitter(Jitter::None)
    }

    const fn tried(attempts: u32, elapsed: u64) -> Tried {
        Tried { attempts, elapsed: secs(elapsed), remaining: secs(1_000) }
    }

    #[test]
    fn each_delay_is_longer_until_the_longest_and_the_attempts_are_counted() {
        let delays: Vec<_> = (1..6).map(|n| after(&policy(), tried(n, 0), &passing(), 7)).collect();
        assert_eq!(delays, [Some(secs(1)), Some(secs(2)), Some(secs(3)), None, None]);
        assert_eq!(after(&RetryPolicy::new(0), tried(1, 0), &passing(), 7), None, "no attempts are one attempt");
    }

    #[test]
    fn only_errors_of_the_policy_are_tried_again() {
        let table = [
            (passing(), true),
            (tool(ToolFailure::Timeout { after: secs(1) }), true),
            (tool(ToolFailure::FailedForNow { message: "503".to_owned() }), true),
            (tool(ToolFailure::Failed { message: "404".to_owned() }), false),
            (tool(ToolFailure::Panicked), false),
            (AgentError::failed("no"), false),
        ];
        for (error, again) in table {
            assert_eq!(after(&policy(), tried(1, 0), &error, 7).is_some(), again, "{error}");
        }
        let own = policy().on(|error| matches!(error, AgentError::Failed { .. }));
        assert!(after(&own, tried(1, 0), &AgentError::failed("no"), 7).is_some());
        assert_eq!(after(&own, tried(1, 0), &passing(), 7), None);
    }

    #[test]
    fn no_attempt_begins_after_the_policy_s_time_or_the_run_s() {
        let hurried = policy().within(secs(10));
        assert_eq!(after(&hurried, tried(1, 9), &passing(), 7), Some(secs(1)));
        assert_eq!(after(&hurried, tried(2, 9), &passing(), 7), None);
        let left = |remaining| Tried { remaining: secs(remaining), ..tried(2, 0) };
        assert_eq!(after(&policy(), left(3), &passing(), 7), Some(secs(2)));
        assert_eq!(after(&policy(), left(2), &passing(), 7), None);
    }

    #[test]
    fn whoever_says_when_to_come_back_is_not_asked_before() {
        let limited = tool(ToolFailure::RateLimited { retry_after: secs(20) });
        assert_eq!(after(&policy(), tried(1, 0), &limited, 7), Some(secs(20)));
        assert_eq!(after(&policy().within(secs(10)), tried(1, 0), &limited, 7), None);
    }

    #[test]
    fn the_jitter_is_that_of_the_seed_and_at_most_as_long_again() {
        let spread = policy().jitter(Jitter::Full);
        let delay = |seed| after(&spread, tried(2, 0), &passing(), seed).unwrap();
        assert_eq!(delay(7), delay(7));
        let delays: std::collections::HashSet<_> = (0..50).map(delay).collect();
        assert!(delays.len() > 40, "they are spread: {delays:?}");
        assert!(delays.iter().all(|delay| (secs(2)..=secs(4)).contains(delay)), "{delays:?}");
    }

    #[test]
    fn what_must_not_be_repeated_is_tried_again_only_when_nothing_was_done() {
        let before = tool(ToolFailure::Busy { limit: 1 });
        let within = tool(ToolFailure::Timeout { after: secs(1) });
        for effect in [Effect::Pure, Effect::Idempotent, Effect::Once, Effect::Compensable] {
            let repeatable = matches!(effect, Effect::Pure | Effect::Idempotent);
            assert!(may_repeat(effect, &before));
            assert_eq!(may_repeat(effect, &within), repeatable, "{effect:?}");
            assert_eq!(may_repeat(effect, &passing()), repeatable, "{effect:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_attempt_is_one_too_many_or_too_late(
            (attempts, tried, elapsed, remaining) in (0..6_u32, 1..8_u32, 0..20_u64, 0..20_u64),
            (first, longest, overall, seed) in (0..5_u64, 0..9_u64, 0..20_u64, proptest::num::u64::ANY),
        ) {
            let policy = RetryPolicy::new(attempts).first_delay(secs(first)).longest_delay(secs(longest));
            let policy = policy.within(secs(overall));
            let so_far = Tried { attempts: tried, elapsed: secs(elapsed), remaining: secs(remaining) };
            let delay = after(&policy, so_far, &passing(), seed);
            proptest::prop_assert_eq!(delay, after(&policy, so_far, &passing(), seed), "the seed decides");
            if let Some(delay) = delay {
                let in_time = delay < secs(remaining) && secs(elapsed) + delay <= secs(overall);
                proptest::prop_assert!(tried < attempts && in_time);
            }
        }
    }
}
