//! A run as the store keeps it: the summary of its events, changed in the same append as they.

use std::{fmt, sync::Arc};

use insula_context::{CancelReason, RunId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::{EventType, Payload, RawJson, RunHeader};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunStatus {
    /// Waits for a worker or for its owner's limit.
    Queued,
    /// A worker holds a lease on it.
    Running,
    /// Parked: waits for a human, a timer or a child, and holds nothing.
    Waiting,
    /// Ended with a result.
    Completed,
    /// Ended with a failure.
    Failed,
    /// Ended because somebody stopped it.
    Cancelled,
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Running, Self::Waiting, Self::Completed, Self::Failed, Self::Cancelled];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing can follow.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl Serialize for RunStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Why a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailReason {
    /// The agent returned an error.
    Error,
    /// The run outlived its time limit.
    Timeout,
    /// The agent panicked.
    Panic,
    /// The agent ended without a result.
    ReturnedNothing,
    /// A budget was spent.
    Budget,
    /// The worker was lost and the run could not be resumed.
    Lost,
}

impl FailReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Error, Self::Timeout, Self::Panic, Self::ReturnedNothing, Self::Budget, Self::Lost];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Panic => "panic",
            Self::ReturnedNothing => "returned_nothing",
            Self::Budget => "budget",
            Self::Lost => "lost",
        }
    }

    /// The reason of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl<'de> Deserialize<'de> for FailReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::parse(&word).ok_or_else(|| D::Error::custom("no such reason"))
    }
}

impl Serialize for FailReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a run failed, in words that its user may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The class of failure.
    pub reason: FailReason,
    /// What happened, without paths, backtraces or secrets.
    pub message: String,
}

/// What a parked run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitFor {
    /// The answer of a human.
    Human,
    /// A point in time.
    Timer,
    /// The end of a child run.
    Child,
    /// Somebody who knows whether an effect happened.
    Reconcile,
}

/// What a submitted run does when others are under way in its thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ThreadPolicy {
    /// It waits until they have ended.
    #[default]
    Enqueue,
    /// It is refused.
    Reject,
    /// They are stopped, and it starts when they are.
    Interrupt,
    /// As [`ThreadPolicy::Interrupt`], and what they did does not count: their records say that they were rolled back.
    Rollback,
}

impl ThreadPolicy {
    /// Every policy.
    pub const ALL: [Self; 4] = [Self::Enqueue, Self::Reject, Self::Interrupt, Self::Rollback];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Reject => "reject",
            Self::Interrupt => "interrupt",
            Self::Rollback => "rollback",
        }
    }

    /// The policy of a word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == word)
    }
}

impl Serialize for WaitFor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl WaitFor {
    /// Everything that can be waited for.
    pub const ALL: [Self; 4] = [Self::Human, Self::Timer, Self::Child, Self::Reconcile];

    /// The stored word's meaning.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wait| wait.as_str() == word)
    }

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::Timer => "timer",
            Self::Child => "child",
            Self::Reconcile => "reconcile",
        }
    }
}

/// A run that does not exist yet.
#[derive(Clone)]
pub struct NewRun {
    /// Owner, thread, run, parent and agent.
    pub header: Arc<RunHeader>,
    /// The version of the agent class that the run is to be executed with.
    pub version: Arc<str>,
    /// What the agent is given, or a reference to it where it is large.
    pub input: RawJson,
    /// The bytes that such a reference leads to.
    pub payload: Option<Payload>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Not to be claimed before this time.
    pub available_at: Option<Timestamp>,
    /// To have ended by this time.
    pub deadline: Option<Timestamp>,
    /// What it does when others are under way in its thread. Without one it neither waits for others nor do they for it,
    /// and it takes none of its owner's places. Nothing is made of it where a run has a parent, or is created by an append.
    pub policy: Option<ThreadPolicy>,
    /// Higher ones are claimed before the owner's others.
    pub priority: i16,
    /// How many of the owner's runs are claimed in a turn from its submission on; 0 counts as 1.
    pub weight: u16,
    /// It is refused when the owner has this many runs with a policy that were never claimed.
    pub most_queued: Option<usize>,
    /// What the engine writes down for itself. Its owner does not see it.
    pub options: Option<RawJson>,
    /// Who is to be told of its end. Nothing is made of it where a run has a parent.
    pub webhook: Option<RawJson>,
}

/// Without what is told to whom: there is a secret in it.
impl fmt::Debug for NewRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewRun")
            .field("header", &self.header)
            .field("version", &self.version)
            .field("input", &self.input)
            .field("created_at", &self.created_at)
            .field("available_at", &self.available_at)
            .field("deadline", &self.deadline)
            .field("policy", &self.policy)
            .field("webhook", &self.webhook.is_some())
            .finish_non_exhaustive()
    }
}

impl NewRun {
    /// A run with nothing out of the ordinary.
    pub fn new(header: Arc<RunHeader>, version: Arc<str>, input: RawJson, created_at: Timestamp) -> Self {
        let (payload, available_at, deadline, policy, most_queued, options, webhook) = Default::default();
        let (priority, weight) = (0, 1);
        Self {
            header,
            version,
            input,
            payload,
            created_at,
            available_at,
            deadline,
            policy,
            priority,
            weight,
            most_queued,
            options,
            webhook,
        }
    }
}

/// What an append makes of the run's summary.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RunChange {
    /// It waits for its turn under the lease of whoever holds it.
    Queued,
    /// It runs (again).
    Running,
    /// It is parked; its lease is given back.
    Waiting {
        /// What it waits for.
        reason: WaitFor,
        /// When it is to be claimed again without being woken.
        until: Option<Timestamp>,
        /// Runs of the same owner whose end it waits for. One that is not there any more has ended.
        children: Vec<RunId>,
    },
    /// Its worker gives it back: it is to be claimed at once, and its status stays as it is.
    HandedOver,
    /// It ended with a result.
    Completed {
        /// The result, or a reference to it where it is large.
        result: RawJson,
    },
    /// It ended with a failure.
    Failed(Failure),
    /// It was stopped.
    Cancelled(CancelReason),
}

impl RunChange {
    /// The event that goes with it, if it is an end.
    pub const fn terminal_event(&self) -> Option<EventType> {
        match self {
            Self::Completed { .. } => Some(EventType::AgentCompleted),
            Self::Failed(_) => Some(EventType::AgentFailed),
            Self::Cancelled(_) => Some(EventType::AgentCancelled),
            Self::Queued | Self::Running | Self::Waiting { .. } | Self::HandedOver => None,
        }
    }

    /// Why the children of a run are stopped that has ended without being stopped itself.
    pub fn orphaned() -> CancelReason {
        CancelReason::new("engine", "the run that it was started by is over")
    }

    /// The status that the run has after this.
    pub const fn status(&self) -> RunStatus {
        match self {
            Self::Queued => RunStatus::Queued,
            Self::Running | Self::HandedOver => RunStatus::Running,
            Self::Waiting { .. } => RunStatus::Waiting,
            Self::Completed { .. } => RunStatus::Completed,
            Self::Failed(_) => RunStatus::Failed,
            Self::Cancelled(_) => RunStatus::Cancelled,
        }
    }
}

/// A run as its owner reads it.
#[derive(Debug, Clone)]
pub struct RunRecord {
    /// Owner, thread, run, parent and agent.
    pub header: Arc<RunHeader>,
    /// The version of the agent class.
    pub version: Arc<str>,
    /// Where it stands.
    pub status: RunStatus,
    /// What it waits for, while it is [waiting](RunStatus::Waiting).
    pub waits_for: Option<WaitFor>,
    /// What the agent was given, or a reference to it where it is large.
    pub input: RawJson,
    /// The result of a completed run, or a reference to it where it is large.
    pub result: Option<RawJson>,
    /// How a failed run failed.
    pub failure: Option<Failure>,
    /// Who stopped a cancelled run, and why; or who asked for it and is not obeyed yet.
    pub cancel: Option<CancelReason>,
    /// Whether a later run of the thread took its place, so that what it did does not count.
    pub rolled_back: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it began to run for the first time.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many events it has.
    pub events: u64,
}

impl Serialize for RunRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut run = serializer.serialize_struct("Run", 16)?;
        run.serialize_field("run_id", &self.header.run)?;
        run.serialize_field("thread_id", &self.header.thread)?;
        run.serialize_field("user_id", self.header.scope.user())?;
        run.serialize_field("parent_run_id", &self.header.parent)?;
        run.serialize_field("agent", &self.header.agent)?;
        run.serialize_field("version", &self.version)?;
        run.serialize_field("status", &self.status)?;
        run.serialize_field("waits_for", &self.waits_for)?;
        run.serialize_field("result", &self.result)?;
        run.serialize_field("failure", &self.failure)?;
        run.serialize_field("cancel", &self.cancel)?;
        run.serialize_field("rolled_back", &self.rolled_back)?;
        run.serialize_field("created_at", &self.created_at)?;
        run.serialize_field("started_at", &self.started_at)?;
        run.serialize_field("ended_at", &self.ended_at)?;
        run.serialize_field("events", &self.events)?;
        run.end()
    }
}
