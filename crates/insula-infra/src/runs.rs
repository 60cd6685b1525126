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
    /// Only children of this run.
    pub parent: Option<RunId>,
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
    /// The thread whose log this one begins with, and up to which `seq`.
    pub forked_from: Option<Fork>,
}

/// Where a thread branches off from another. Its log begins with the other's, which is not copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// The other thread.
    pub thread_id: ThreadId,
    /// The last event that both have.
    pub seq: u64,
}

/// What became of the wish to stop a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelRequest {
    /// It is recorded; whoever holds or claims the run obeys it.
    Recorded,
    /// The run has ended already.
    Ended(RunStatus),
    /// There is no such run yet. One that comes under this id within the next hour is stopped before it begins.
    Ahead,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Deleted {
    /// Threads.
    pub threads: u64,
    /// Runs.
    pub runs: u64,
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

    /// One thread.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error>;

    /// Makes a thread without runs.
    ///
    /// # Errors
    /// [`Error::ThreadExists`] when there is a thread of this name.
    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error>;

    /// Records the wish to stop a run, also one that does not exist yet: an owner may have up to 1,000 such wishes, and
    /// the oldest goes first. The first wish for a run is kept.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error>;

    /// Records the wish to stop every run of the filter that has not ended, in one write, and says which those are.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error>;

    /// Makes a thread that begins with the first `fork.seq` events of another. Its own events follow from there; those
    /// that it begins with keep their numbers and name the thread and the run in which they happened. State is not taken
    /// along. `None` when there is no such thread, or it has fewer events.
    ///
    /// # Errors
    /// [`Error::ThreadExists`] when there is a thread of the new name.
    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error>;

    /// Deletes a thread: its runs, events, questions and state, and the payloads that nothing else refers to. `None` when
    /// there is no such thread.
    ///
    /// # Errors
    /// [`Error::ThreadBusy`] while a run of it has not ended, [`Error::ThreadForked`] while another begins with its log.
    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error>;

    /// Deletes everything of a user but the user's own database and cache: threads, runs, questions, state, schedules, the
    /// user's account and what the user's runs have reserved of the tenant's. Runs under way lose their lease, and their
    /// writers are refused.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error>;
}
