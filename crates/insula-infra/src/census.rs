//! How much there is of what, of all users together, for operators: counts and nothing else.

use async_trait::async_trait;
use insula_context::Timestamp;
use serde::Serialize;

use crate::Error;

/// Counts over all users.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Runs that wait for a worker and may begin now.
    pub queued: u64,
    /// Runs that are not to begin before their time.
    pub delayed: u64,
    /// Runs that wait for those before them in their thread.
    pub blocked: u64,
    /// Runs that somebody holds.
    pub running: u64,
    /// Runs that are parked.
    pub waiting: u64,
    /// Users who have runs that have not ended.
    pub users: u64,
    /// How long the oldest of the queued runs has been able to begin, in milliseconds.
    pub oldest_queued_ms: u64,
    /// Calls that are due.
    pub webhooks_due: u64,
    /// Calls that nobody tries any more.
    pub webhooks_dead: u64,
}

/// A process that works on the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRecord {
    /// Its name among the workers.
    pub worker: String,
    /// Runs that it holds.
    pub runs: u64,
    /// When its lease ends unless it renews it.
    pub lease_until: Timestamp,
}

/// Counts over all users.
#[async_trait]
pub trait Census: Send + Sync {
    /// Now, by the store's clock. The cost depends on the number of runs that have not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn counts(&self) -> Result<Counts, Error>;

    /// Those that hold runs or have renewed their lease lately, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn nodes(&self) -> Result<Vec<NodeRecord>, Error>;
}
