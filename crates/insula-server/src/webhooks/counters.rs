//! How many calls were taken and how many were not, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use insula_infra::Attempt;

/// What came of attempts since the process began.
#[derive(Debug, Default)]
pub struct WebhookCounters {
    delivered: AtomicU64,
    failed: AtomicU64,
    dead: AtomicU64,
}

/// [`WebhookCounters`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookCounts {
    /// Attempts that were taken.
    pub delivered: u64,
    /// Attempts that were not.
    pub failed: u64,
    /// Calls that nobody tries any more.
    pub dead: u64,
}

impl WebhookCounters {
    pub(super) fn count(&self, attempt: &Attempt) {
        let counted: &[&AtomicU64] = match attempt {
            Attempt::Delivered => &[&self.delivered],
            Attempt::Again { .. } => &[&self.failed],
            Attempt::Dead { .. } => &[&self.failed, &self.dead],
        };
        counted.iter().for_each(|counter| _ = counter.fetch_add(1, Ordering::Relaxed));
    }

    /// How it stands now.
    pub fn now(&self) -> WebhookCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WebhookCounts { delivered: read(&self.delivered), failed: read(&self.failed), dead: read(&self.dead) }
    }
}
