//! Deadlines and stops. Both travel down only, and only ever make an end come earlier.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The moment by which something must have ended. Made at admission and only ever shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// That long from now.
    pub fn after(duration: Duration) -> Self {
        let far = Duration::from_secs(60 * 60 * 24 * 365 * 30);
        Self(Instant::now() + duration.min(far))
    }

    /// The earlier of the two.
    #[must_use]
    pub fn shorten(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// How long is left; zero once it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Waits until it passes. Dropping the future has no effect.
    pub async fn passed(self) {
        tokio::time::sleep_until(self.0).await;
    }
}

/// Who stopped something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelReason {
    /// Who: `user`, `operator`, `shutdown`, `caller gone`.
    pub by: String,
    /// Why, in words for the user.
    pub why: String,
}

impl CancelReason {
    /// Who and why.
    pub fn new(by: impl Into<String>, why: impl Into<String>) -> Self {
        Self { by: by.into(), why: why.into() }
    }
}

impl fmt::Display for CancelReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.by)
    }
}

struct Node {
    token: CancellationToken,
    reason: OnceLock<CancelReason>,
    parent: Option<Arc<Node>>,
}

/// The right to stop something: itself and everything below it.
#[derive(Clone)]
pub struct Canceller(Arc<Node>);

/// The ability to see that a stop was asked for. Whoever holds one cannot stop anything with it.
#[derive(Clone)]
pub struct Cancellation(Arc<Node>);

impl Canceller {
    /// A canceller that nobody is above of.
    pub fn new() -> Self {
        Self(Arc::new(Node { token: CancellationToken::new(), reason: OnceLock::new(), parent: None }))
    }

    /// Stops it. The first reason is kept; a second call changes nothing.
    pub fn cancel(&self, reason: CancelReason) {
        let _ = self.0.reason.set(reason);
        self.0.token.cancel();
    }

    /// The view to hand down.
    pub fn cancellation(&self) -> Cancellation {
        Cancellation(Arc::clone(&self.0))
    }
}

impl Default for Canceller {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancellation {
    /// A cancellation that never comes.
    pub fn never() -> Self {
        Canceller::new().cancellation()
    }

    /// A canceller below this one: stopping it leaves everything above running.
    pub fn child(&self) -> Canceller {
        Canceller(Arc::new(Node {
            token: self.0.token.child_token(),
            reason: OnceLock::new(),
            parent: Some(Arc::clone(&self.0)),
        }))
    }

    /// Whether a stop was asked for, here or above.
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// Who stopped it and why, once it is stopped: its own reason before one from above.
    pub fn reason(&self) -> Option<CancelReason> {
        if !self.is_cancelled() {
            return None;
        }
        let mut node = Some(&self.0);
        while let Some(here) = node {
            if let Some(reason) = here.reason.get() {
                return Some(reason.clone());
            }
            node = here.parent.as_ref();
        }
        None
    }

    /// Waits for a stop and says who asked for it. Dropping the future has no effect.
    pub async fn cancelled(&self) -> CancelReason {
        self.0.token.cancelled().await;
        self.reason().unwrap_or_else(|| CancelReason::new("unknown", "stopped"))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canceller({:?})", self.cancellation().reason())
    }
}

impl fmt::Debug for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancellation({:?})", self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(why: &str) -> CancelReason {
        CancelReason::new("user", why)
    }

    #[test]
    fn a_stop_reaches_everything_below_and_nothing_above() {
        let top = Canceller::new();
        let middle = top.cancellation().child();
        let leaf = middle.cancellation().child().cancellation();
        middle.cancel(stop("enough"));
        assert!(!top.cancellation().is_cancelled());
        assert_eq!(leaf.reason(), Some(stop("enough")));
    }

    #[test]
    fn the_first_reason_is_kept() {
        let canceller = Canceller::new();
        canceller.cancel(stop("first"));
        canceller.cancel(stop("second"));
        assert_eq!(canceller.cancellation().reason(), Some(stop("first")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_only_ever_shortened() {
        let (early, late) = (Deadline::after(Duration::from_secs(1)), Deadline::after(Duration::from_secs(9)));
        assert_eq!(early.shorten(late), early);
        assert_eq!(late.shorten(early), early);
        early.passed().await;
        assert!(early.has_passed() && !late.has_passed());
    }
}
