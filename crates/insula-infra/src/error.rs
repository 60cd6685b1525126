//! What can go wrong below the ports. Absent is not an error, and foreign is absent.

use std::{sync::Arc, time::Duration};

use insula_context::{CancelReason, RunId, ThreadId};

/// The error of a driver, kept for the operator. Shared, because one failed commit fails everyone who waits for it.
pub type Source = Arc<dyn std::error::Error + Send + Sync>;

/// A storage operation failed. Each variant says which one and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The dependency does not answer now; the same call may succeed later.
    #[error("{operation}: {component} is unavailable, try again")]
    Unavailable {
        /// What was attempted.
        operation: &'static str,
        /// Which dependency.
        component: &'static str,
        /// What the driver said.
        #[source]
        source: Option<Source>,
    },
    /// No answer within the time allowed.
    #[error("{operation}: no answer within {after:?}, try again or raise the limit")]
    Timeout {
        /// What was attempted.
        operation: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// A run with this id exists already.
    #[error("run {run} exists already: choose a fresh id")]
    RunExists {
        /// The id.
        run: RunId,
    },
    /// Somebody asked to stop a run of this id before it was created. Only its end as a cancelled run is accepted.
    #[error("run {run} was stopped before it began: {reason}")]
    CancelledAhead {
        /// The id.
        run: RunId,
        /// Who, and why.
        reason: CancelReason,
    },
    /// Another run is under way in the thread.
    #[error("thread {thread} is busy with run {run}: wait for its end, stop it, or choose another policy")]
    ThreadBusy {
        /// The thread.
        thread: ThreadId,
        /// A run that has not ended.
        run: RunId,
    },
    /// A thread with this id exists already.
    #[error("thread {thread} exists already: choose a fresh id")]
    ThreadExists {
        /// The id.
        thread: ThreadId,
    },
    /// A key with this id exists already.
    #[error("a key {key} exists already: choose a fresh id")]
    KeyExists {
        /// The id.
        key: String,
    },
    /// Other threads begin with this one's log.
    #[error("thread {thread} cannot be deleted: {fork} begins with its log, delete that one first")]
    ThreadForked {
        /// The thread.
        thread: ThreadId,
        /// One of its forks.
        fork: ThreadId,
    },
    /// The owner has as many queued runs as allowed.
    #[error("{limit} runs are queued already, and no more are allowed: come back when some have begun")]
    QueueFull {
        /// How many are allowed.
        limit: usize,
    },
    /// The run has its terminal event and accepts nothing more.
    #[error("run {run} has ended: nothing can be added to it")]
    RunEnded {
        /// The run.
        run: RunId,
    },
    /// Somebody else holds the lease by now: the writer must stop its work.
    #[error("run {run}: the lease with token {held} is stale, stop working on it")]
    StaleLease {
        /// The run.
        run: RunId,
        /// The token of the refused writer.
        held: u64,
    },
    /// The writer's count of the run's events is not the log's: an earlier append of it was lost.
    #[error("run {run}: an append after {given} events was refused, the log has {found}")]
    OutOfOrder {
        /// The run.
        run: RunId,
        /// How many events the writer believed in.
        given: u64,
        /// How many there are.
        found: u64,
    },
    /// The append contradicts itself: an end without its terminal event, for example. Nothing of it was kept, and the
    /// writer has to be corrected.
    #[error("run {run}: the append was refused, {problem}")]
    InvalidAppend {
        /// The run.
        run: RunId,
        /// What contradicts what.
        problem: &'static str,
    },
    /// The cursor does not come from a page of this list.
    #[error("\"{cursor}\" is not a cursor of this list: start from the first page")]
    InvalidCursor {
        /// The refused cursor.
        cursor: String,
    },
    /// Compare-and-set: somebody else wrote in between. Read again and retry.
    #[error("state \"{key}\" is at version {found:?}, not {expected:?}: read it again and retry")]
    Conflict {
        /// The key's name.
        key: String,
        /// The version that the writer expected; `None` is "absent".
        expected: Option<u64>,
        /// The version that is there.
        found: Option<u64>,
    },
    /// Stored bytes are not what was written.
    #[error("{what} is corrupt: {detail}")]
    Corrupt {
        /// Which stored thing.
        what: String,
        /// How it was noticed.
        detail: String,
    },
    /// The value has the wrong type for the operation, a list where a number is wanted for example.
    #[error("{operation}: the value at \"{key}\" is {found}, not {expected}")]
    WrongType {
        /// What was attempted.
        operation: &'static str,
        /// The key.
        key: String,
        /// What it was expected to be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// More than is accepted.
    #[error("{what} has {size}, at most {limit} is accepted")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size, in the unit of the limit.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk is full. Nothing of the refused write was kept; everything acknowledged before is there.
    #[error("{file}: the disk is full, free some space and try again")]
    DiskFull {
        /// The file.
        file: String,
        /// What the driver said.
        #[source]
        source: Source,
    },
    /// The database file cannot be used as it is.
    #[error("{file}: {problem}")]
    Database {
        /// The file or server, without credentials.
        file: String,
        /// What is wrong and what to do.
        problem: String,
        /// What the driver said.
        #[source]
        source: Option<Source>,
    },
    /// A statement of an agent was refused by its own database.
    #[error("the statement was refused: {message}")]
    Statement {
        /// The database's words.
        message: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::DiskFull { .. }
                | Self::Conflict { .. }
                | Self::QueueFull { .. }
                | Self::ThreadBusy { .. }
        )
    }
}
