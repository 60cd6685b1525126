//! When something that failed is tried again, and when what keeps failing is left alone.

use std::{fmt, sync::Arc, time::Duration};

use crate::Error;

type Which = Arc<dyn Fn(&Error) -> bool + Send + Sync>;

/// When to try again, and how often. Each delay is longer than the one before it by the factor, up to the longest one.
///
/// ```
/// use std::time::Duration;
///
/// use insula_agent::{Error, RetryPolicy};
///
/// let policy = RetryPolicy::new(4)
///     .first_delay(Duration::from_millis(200))
///     .within(Duration::from_secs(30))
///     .on(|error| error.is_transient() || matches!(error, Error::Shape { .. }));
/// assert!(policy.retries(&Error::Unavailable { what: "search", problem: "it restarts".to_owned() }));
/// assert!(!policy.retries(&Error::failed("there is no such page")));
/// ```
#[derive(Clone)]
pub struct RetryPolicy {
    /// How often it is tried in all, the first time included. 0 counts as 1.
    pub attempts: u32,
    /// The delay before the second attempt.
    pub first_delay: Duration,
    /// How much longer each delay is than the one before it. Less than 1 counts as 1.
    pub factor: f32,
    /// No delay is longer, its jitter apart.
    pub longest_delay: Duration,
    /// Whether delays are spread, so that those who failed together do not come back together.
    pub jitter: Jitter,
    /// No attempt begins later than this after the first one. The run's own deadline always counts.
    pub overall: Option<Duration>,
    which: Option<Which>,
}

/// How delays are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Each is as long again by a random part of itself.
    #[default]
    Full,
    /// Not at all.
    None,
}

impl RetryPolicy {
    /// So many attempts in all: the second after about 100 milliseconds, then each delay twice as long, up to 30 seconds.
    /// Only for errors that [may pass](Error::is_transient).
    pub const fn new(attempts: u32) -> Self {
        Self {
            attempts,
            first_delay: Duration::from_millis(100),
            factor: 2.0,
            longest_delay: Duration::from_secs(30),
            jitter: Jitter::Full,
            overall: None,
            which: None,
        }
    }

    /// The delay before the second attempt.
    #[must_use]
    pub const fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// How much longer each delay is than the one before it.
    #[must_use]
    pub const fn factor(mut self, factor: f32) -> Self {
        self.factor = factor;
        self
    }

    /// No delay is longer, its jitter apart.
    #[must_use]
    pub const fn longest_delay(mut self, delay: Duration) -> Self {
        self.longest_delay = delay;
        self
    }

    /// How delays are spread.
    #[must_use]
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// No attempt begins later than this after the first one.
    #[must_use]
    pub const fn within(mut self, overall: Duration) -> Self {
        self.overall = Some(overall);
        self
    }

    /// Tries again after these errors, instead of those that may pass.
    #[must_use]
    pub fn on(mut self, which: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        self.which = Some(Arc::new(which));
        self
    }

    /// Whether an error is one to try again after.
    pub fn retries(&self, error: &Error) -> bool {
        self.which.as_ref().map_or_else(|| error.is_transient(), |which| which(error))
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("attempts", &self.attempts)
            .field("first_delay", &self.first_delay)
            .field("factor", &self.factor)
            .field("longest_delay", &self.longest_delay)
            .field("jitter", &self.jitter)
            .field("overall", &self.overall)
            .finish_non_exhaustive()
    }
}

/// When a dependency that keeps failing is left alone, and for how long.
///
/// After so many failures within the window its breaker opens: calls fail at once and are told when to come back. After
/// the recovery time one call is let through. If that one succeeds the breaker closes, otherwise it opens again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failures open it. 0 counts as 1.
    pub failures: u32,
    /// Failures longer ago than this are forgotten.
    pub window: Duration,
    /// How long it stays open before one call is let through.
    pub recovery: Duration,
}

impl BreakerPolicy {
    /// Opens after so many failures within the window, for the recovery time.
    pub const fn new(failures: u32, window: Duration, recovery: Duration) -> Self {
        Self { failures, window, recovery }
    }
}

impl Default for BreakerPolicy {
    /// Five failures within a minute open it for ten seconds.
    fn default() -> Self {
        Self::new(5, Duration::from_secs(60), Duration::from_secs(10))
    }
}
