//! What is asked for when a run is handed to the queue.

use std::time::Duration;

use insula_context::{Ceiling, RunId, ThreadId};
use serde_json::Value;

/// A run that is handed to the queue.
#[derive(Debug, Clone)]
pub struct RunRequest {
    pub(crate) agent: String,
    pub(crate) input: Value,
    pub(crate) thread: Option<ThreadId>,
    pub(crate) run: Option<RunId>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) budget: Ceiling,
}

impl RunRequest {
    /// A run of an agent class, in a thread of its own.
    pub fn new(agent: impl Into<String>, input: Value) -> Self {
        let (thread, run, timeout, idempotency_key, budget) = Default::default();
        Self { agent: agent.into(), input, thread, run, timeout, idempotency_key, budget }
    }

    /// In this conversation.
    #[must_use]
    pub fn thread(mut self, thread: ThreadId) -> Self {
        self.thread = Some(thread);
        self
    }

    /// Under this id.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// To have ended within this time from now, its waiting included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// To spend no more than this, its children included. Where its class has a lower budget, that one counts.
    #[must_use]
    pub fn budget(mut self, budget: Ceiling) -> Self {
        self.budget = budget;
        self
    }

    /// A second submission with the same key answers with the first one's run.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}
