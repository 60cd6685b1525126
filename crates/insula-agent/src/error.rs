//! How an agent, a tool or a call of the session fails.

use std::{fmt, time::Duration};

use insula_context::Unit;
use serde::{Deserialize, Serialize};

/// The result of everything that an agent does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the operator is told beside the message that the user sees.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An agent's failure, or that of a call it made. Returned from [`Agent::run`](crate::Agent::run), it ends the run.
///
/// Messages are shown to the run's user; sources are for the operator alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The agent's own words.
    #[error("{message}")]
    Failed {
        /// What the user is told.
        message: String,
        /// What the operator is told.
        #[source]
        cause: Option<Cause>,
    },
    /// The input or a recorded value does not have the expected shape.
    #[error("{what} does not have the expected shape: {problem}")]
    Shape {
        /// What was read.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A call of a tool did not give a result.
    #[error("tool \"{tool}\" {failure}")]
    Tool {
        /// The name of the tool.
        tool: String,
        /// What became of the call.
        failure: ToolFailure,
        /// What the operator is told.
        #[source]
        cause: Option<Cause>,
    },
    /// Another agent that was called did not give a result.
    #[error("agent \"{agent}\" did not give a result: {message}")]
    Child {
        /// The name of the class.
        agent: String,
        /// The class of failure: `error`, `timeout`, `panic`, `returned_nothing`, `cancelled`, …
        reason: String,
        /// Why, in words for the user.
        message: String,
    },
    /// Something is not configured on this installation, or does not answer.
    #[error("{what} is unavailable: {problem}")]
    Unavailable {
        /// `database`, `cache`, …
        what: &'static str,
        /// Why, and what to do.
        problem: String,
    },
    /// State, database or cache refused an operation.
    #[error("{operation}: {message}")]
    Storage {
        /// What was attempted.
        operation: &'static str,
        /// What is wrong, in words for the user.
        message: String,
        /// Whether the same call may succeed later.
        transient: bool,
        /// What the operator is told.
        #[source]
        cause: Option<Cause>,
    },
    /// The code of the agent does not match what was recorded when it ran before.
    #[error("the run diverged: {recorded} was recorded where {called} is called now")]
    Diverged {
        /// The recorded call.
        recorded: String,
        /// The call that was made instead.
        called: String,
    },
    /// The run is over: it was stopped, timed out, or its engine has shut down.
    #[error("the run is over: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
}

impl Error {
    /// A failure in words for the user.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), cause: None }
    }

    /// A failure in words for the user, with a cause for the operator.
    pub fn caused(message: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self::Failed { message: message.into(), cause: Some(cause.into()) }
    }

    /// Whether the same work may succeed later without a change.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Storage { transient, .. } => *transient,
            Self::Tool { failure, .. } => failure.is_transient(),
            Self::Unavailable { .. } => true,
            _ => false,
        }
    }
}

/// What became of a call of a tool that gave no result. It is recorded as it is, so that a resumed run is told the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolFailure {
    /// This user has no tool of that name.
    #[error("does not exist; there are: {}", available.join(", "))]
    Absent {
        /// The names that exist for this user.
        available: Vec<String>,
    },
    /// The user lacks a permission.
    #[error("needs the permission \"{permission}\"")]
    Denied {
        /// The missing permission.
        permission: String,
    },
    /// Too many calls in too short a time.
    #[error("was called too often, come back in {retry_after:?}")]
    RateLimited {
        /// When to come back.
        retry_after: Duration,
    },
    /// Too many calls at the same time.
    #[error("is in use as often as it may be at once ({limit}), come back when a call has ended")]
    Busy {
        /// The limit.
        limit: usize,
    },
    /// The arguments do not have the shape that the tool declares.
    #[error("was given wrong arguments: {problem}")]
    Arguments {
        /// What is wrong with them.
        problem: String,
    },
    /// What it depends on has failed so often that it is left alone for a while. Nothing was called.
    #[error("was not called: \"{dependency}\" has failed too often, come back in {retry_after:?}")]
    Unavailable {
        /// What it depends on.
        dependency: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// The call would have cost more than may be spent. Nothing was called, and the run ends.
    #[error("was not called: the {holder} may spend {limit} {unit} and no more{}", Later(*retry_after))]
    Budget {
        /// Whose limit it is: `run`, `parent run`, `user` or `tenant`.
        holder: String,
        /// Of what.
        unit: Unit,
        /// How much may be spent.
        limit: u64,
        /// When there is something to spend again, where that comes by itself.
        retry_after: Option<Duration>,
    },
    /// It took longer than it may, and was stopped.
    #[error("did not finish within {after:?}")]
    Timeout {
        /// The limit.
        after: Duration,
    },
    /// It panicked.
    #[error("panicked")]
    Panicked,
    /// It returned an error.
    #[error("failed: {message}")]
    Failed {
        /// What the user is told.
        message: String,
    },
    /// It returned an error that may pass.
    #[error("failed for now: {message}")]
    FailedForNow {
        /// What the user is told.
        message: String,
    },
    /// The engine has shut down or the run is over.
    #[error("is not available any more: {why}")]
    Stopped {
        /// Why.
        why: String,
    },
}

/// When to come back, in words.
struct Later(Option<Duration>);

impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |after| write!(f, ", come back in {after:?}"))
    }
}

impl ToolFailure {
    /// Whether the same call may succeed later without a change.
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. }
                | Self::Busy { .. }
                | Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::FailedForNow { .. }
        )
    }

    /// Whether it says that the call had no effect, because it was refused before it did anything.
    pub const fn had_no_effect(&self) -> bool {
        matches!(
            self,
            Self::Absent { .. }
                | Self::Denied { .. }
                | Self::RateLimited { .. }
                | Self::Busy { .. }
                | Self::Unavailable { .. }
                | Self::Budget { .. }
                | Self::Arguments { .. }
        )
    }

    /// When to come back, where that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } | Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Budget { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
