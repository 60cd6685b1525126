//! What came of a run.

use std::time::Duration;

use insula_context::{Amounts, CancelReason, RunId, ThreadId, Timestamp};
use insula_infra::{Failure, RunStatus};
use serde::Serialize;
use serde_json::Value;

use crate::{Usage, machine::Ending};

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// With a result.
    Completed(Value),
    /// With a failure.
    Failed(Failure),
    /// Somebody stopped it.
    Cancelled(CancelReason),
}

impl End {
    /// The status that the run has now.
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Completed(_) => RunStatus::Completed,
            Self::Failed(_) => RunStatus::Failed,
            Self::Cancelled(_) => RunStatus::Cancelled,
        }
    }

    /// The class of the end in one word: `completed`, `cancelled`, or the reason of a failure.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Failed(failure) => failure.reason.as_str(),
            Self::Cancelled(_) => "cancelled",
        }
    }

    /// What went wrong, in words for the user.
    pub fn message(&self) -> Option<String> {
        match self {
            Self::Completed(_) => None,
            Self::Failed(failure) => Some(failure.message.clone()),
            Self::Cancelled(reason) => Some(reason.to_string()),
        }
    }
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Completed(result) => Self::Completed(result),
            Ending::Failed { failure, .. } => Self::Failed(failure),
            Ending::Cancelled(reason) => Self::Cancelled(reason),
        }
    }
}

/// What came of a run that has ended. The same fact is the last event of its log.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The run.
    pub run: RunId,
    /// Its conversation.
    pub thread: ThreadId,
    /// Its agent class.
    pub agent: String,
    /// How it ended.
    pub end: End,
    /// What it used.
    pub usage: Usage,
    /// What it spent, its children included.
    pub spent: Amounts,
    /// How long it took, its waiting for a turn included.
    pub duration: Duration,
}

impl Outcome {
    /// The result, if there is one.
    pub fn result(&self) -> Option<&Value> {
        match &self.end {
            End::Completed(result) => Some(result),
            _ => None,
        }
    }

    /// Whether it ended with a result.
    pub fn is_success(&self) -> bool {
        self.result().is_some()
    }
}

/// A line of an engine's history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run.
    pub run_id: RunId,
    /// Its agent class.
    pub agent: String,
    /// `completed`, `cancelled`, or the reason of a failure.
    pub end: &'static str,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How long it took.
    #[serde(serialize_with = "seconds")]
    pub duration: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
