//! What comes after an attempt that failed: a pure function of how many there were.

use std::time::Duration;

use insula_context::Timestamp;
use insula_infra::Attempt;

/// How often a call is made before nobody tries any more.
const ATTEMPTS: u32 = 12;
/// How long after the first attempt the second comes; each next one twice as long.
const FIRST: Duration = Duration::from_secs(5);
/// The longest time between two attempts, also for whoever asks for more.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Why an attempt failed, in words for whoever asked for the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failed {
    pub error: String,
    /// How long the receiver asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// What becomes of a call whose attempt number `made` failed at `now`. A receiver may ask for more time than it would get
/// by itself, up to an hour, and not for less.
pub(super) fn next_attempt(made: u32, now: Timestamp, failed: Failed) -> Attempt {
    let Failed { error, retry_after } = failed;
    if made >= ATTEMPTS {
        return Attempt::Dead { error };
    }
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(made.saturating_sub(1)));
    let wait = doubled.max(retry_after.unwrap_or_default()).min(LONGEST);
    Attempt::Again { at: now.plus(wait), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn wait(made: u32, retry_after: Option<u64>) -> Option<u64> {
        let failed = Failed { error: "no".into(), retry_after: retry_after.map(Duration::from_secs) };
        match next_attempt(made, NOW, failed) {
            Attempt::Again { at, error } => {
                assert_eq!(error, "no");
                Some(at.since(NOW).as_secs())
            }
            _ => None,
        }
    }

    #[test]
    fn waits_double_up_to_an_hour_and_end_after_twelve_attempts() {
        let waits: Vec<_> = (1..=12).map(|made| wait(made, None)).collect();
        let seconds = [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600];
        assert_eq!(waits, seconds.into_iter().map(Some).chain([None]).collect::<Vec<_>>());
        assert_eq!(wait(u32::MAX, None), None);
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_up_to_an_hour_and_not_for_less() {
        assert_eq!(wait(1, Some(90)), Some(90));
        assert_eq!(wait(1, Some(1)), Some(5));
        assert_eq!(wait(1, Some(u64::MAX / 2)), Some(3_600));
        assert_eq!(wait(12, Some(90)), None);
    }
}
