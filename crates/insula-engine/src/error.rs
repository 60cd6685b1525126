//! Why the engine refused something, or could not do it.

use std::time::Duration;

use insula_context::{RunId, ThreadId, UserScope};
use insula_infra::RunStatus;

/// The engine refused something or could not do it. A run that ended badly is not an error but an
/// [`Outcome`](crate::Outcome).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An identity or a context is not valid.
    #[error(transparent)]
    Context(#[from] insula_context::Error),
    /// No such class, something that it needs is missing, or an instance may not run.
    #[error(transparent)]
    Factory(#[from] insula_factory::Error),
    /// An input does not have the shape that its class declares.
    #[error(transparent)]
    Input(insula_registry::Error),
    /// The user has as much of something as is allowed.
    #[error("{user} has {limit} {what} already, and no more are allowed: {advice}")]
    Limit {
        /// The user.
        user: UserScope,
        /// What is limited.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
        /// When to come back, where that is known.
        retry_after: Option<Duration>,
        /// What to do.
        advice: &'static str,
    },
    /// The context belongs to another user than the engine. Nothing ran.
    #[error("the context belongs to another user than the engine: nothing was run")]
    Foreign,
    /// This user has a live engine for this run already.
    #[error("run {run} has a live engine already: use that one, or take a fresh run id")]
    EngineExists {
        /// The run.
        run: RunId,
    },
    /// Another run is under way in the thread, and the new one was to be refused then.
    #[error("thread {thread} is busy with run {run}: wait for its end, stop it, or choose another policy")]
    ThreadBusy {
        /// The thread.
        thread: ThreadId,
        /// A run that has not ended.
        run: RunId,
    },
    /// A schedule cannot be kept as it is described.
    #[error("the schedule's {field} is refused: {problem}")]
    Schedule {
        /// Which part of it.
        field: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The engine, or the whole factory, was shut down.
    #[error("the engine has been shut down: create another")]
    ShutDown,
    /// Something is not configured here.
    #[error("the {what} is unavailable: it is not configured here")]
    Unavailable {
        /// What.
        what: &'static str,
    },
    /// Storage refused or failed.
    #[error(transparent)]
    Storage(#[from] insula_infra::Error),
    /// A pipeline cannot be built as it is described.
    #[error(transparent)]
    Pipeline(#[from] crate::pipeline::PlanError),
    /// Only a run that has ended is exported, replayed or run again.
    #[error("run {run} is {}: wait for its end, or stop it", status.as_str())]
    NotEnded {
        /// The run.
        run: RunId,
        /// Where it stands.
        status: RunStatus,
    },
    /// Something that belongs to a run is not kept any more.
    #[error("{what} is not kept any more, or not all of it")]
    NotKept {
        /// What is missing.
        what: String,
    },
    /// A file is not what an export writes. Nothing of it was taken in.
    #[error("line {line} of the archive: {problem}")]
    Archive {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The answer is none of those that the question takes. It stays open.
    #[error("the answer does not fit the question: {}", violations.join("; "))]
    Answer {
        /// What is wrong with it.
        violations: Vec<String>,
    },
    /// A value has no JSON form.
    #[error("{what} has no JSON form: {problem}")]
    Json {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Limit { .. } | Self::ThreadBusy { .. } => true,
            Self::Storage(error) => error.is_transient(),
            _ => false,
        }
    }
}
