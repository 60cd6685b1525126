//! How often something may happen, counted per owner.

use std::time::Duration;

use async_trait::async_trait;
use insula_context::UserScope;

use crate::Error;

/// At most `max` within each `window`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// What is counted, `tool:search` for example.
    pub name: String,
    /// How many.
    pub max: u64,
    /// Within which time. Windows follow one another; each starts with its first use.
    pub window: Duration,
}

/// The answer to a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Go ahead.
    Granted {
        /// How many are left in this window.
        left: u64,
    },
    /// Not now. Nothing was counted.
    Refused {
        /// When to come back.
        retry_after: Duration,
    },
}

/// Counts per owner. Atomic: two callers never share the last one.
#[async_trait]
pub trait Quota: Send + Sync {
    /// Takes `amount` from the owner's current window.
    ///
    /// # Errors
    /// When the store does not answer. A refusal is not an error.
    async fn take(&self, scope: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error>;
}
