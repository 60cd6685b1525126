//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use serde::Serialize;

use crate::{Error, RunRecord, RunStatus};

/// Which runs to list; an empty filter lists all.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only runs of this thread.
    pub thread: Option<ThreadId>,
    /// Only runs with this status.
    pub status: Option<RunStatus>,
    /// Only runs of this agent class.
    pub agent: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// Where the last page ended; `None` for the first one.
    pub cursor: Option<String>,
    /// At most this many entries.
    pub limit: usize,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { cursor: None, limit: 50 }
    }
}

/// A part of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// The entries, newest first.
    pub items: Vec<T>,
    /// Where to go on; `None` at the end.
    pub next: Option<String>,
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ThreadRecord {
    /// Its id.
    pub thread_id: ThreadId,
    /// When its first run was accepted.
    pub created_at: Timestamp,
    /// The `seq` of its last event; 0 when there is none yet.
    pub head: u64,
}

/// What became of the wish to stop a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelRequest {
    /// It is recorded; whoever holds or claims the run obeys it.
    Recorded,
    /// The run has ended already.
    Ended(RunStatus),
}

/// A user's runs. Absent and foreign look the same: `None`.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// One run.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error>;

    /// Runs, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error>;

    /// Threads, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error>;

    /// Records the wish to stop a run. The first wish is kept.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<Option<CancelRequest>, Error>;
}
