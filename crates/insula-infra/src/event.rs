//! What the log holds: events, each with an envelope and its data as JSON.

use std::{fmt, sync::Arc};

use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeStruct};
use serde_json::value::RawValue;

/// JSON text that is known to be valid, shared and never parsed on its way through.
pub type RawJson = Arc<RawValue>;

/// What kind of event it is. The words are stable: they are stored and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventType {
    /// The agent began: once, first.
    AgentStarted,
    /// Progress in words.
    AgentThinking,
    /// A guard opened around a real call of a tool.
    ToolExecuting,
    /// The guard closed.
    ToolCompleted,
    /// The agent succeeded: once, last.
    AgentCompleted,
    /// The run failed: once, last.
    AgentFailed,
    /// The run was stopped: once, last.
    AgentCancelled,
    /// The run has been waiting for its turn.
    AgentQueued,
    /// The run waits for a human, a timer or a child.
    AgentWaiting,
    /// The run goes on after a pause or a crash.
    AgentResumed,
    /// Text of a model.
    TextDelta,
    /// A step's recorded result.
    StepCompleted,
    /// A model call's recorded result.
    ModelCompleted,
    /// An agent's own event.
    Custom,
    /// A budget is nearly spent.
    BudgetWarning,
    /// A step begins that must not be repeated blindly.
    StepStarted,
    /// The run is over, and what can be undone is being undone.
    AgentUndoing,
}

impl EventType {
    /// Every type, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::AgentStarted,
        Self::AgentThinking,
        Self::ToolExecuting,
        Self::ToolCompleted,
        Self::AgentCompleted,
        Self::AgentFailed,
        Self::AgentCancelled,
        Self::AgentQueued,
        Self::AgentWaiting,
        Self::AgentResumed,
        Self::TextDelta,
        Self::StepCompleted,
        Self::ModelCompleted,
        Self::Custom,
        Self::BudgetWarning,
        Self::StepStarted,
        Self::AgentUndoing,
    ];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentStarted => "agent_started",
            Self::AgentThinking => "agent_thinking",
            Self::ToolExecuting => "tool_executing",
            Self::ToolCompleted => "tool_completed",
            Self::AgentCompleted => "agent_completed",
            Self::AgentFailed => "agent_failed",
            Self::AgentCancelled => "agent_cancelled",
            Self::AgentQueued => "agent_queued",
            Self::AgentWaiting => "agent_waiting",
            Self::AgentResumed => "agent_resumed",
            Self::TextDelta => "text_delta",
            Self::StepCompleted => "step_completed",
            Self::ModelCompleted => "model_completed",
            Self::Custom => "custom",
            Self::BudgetWarning => "budget_warning",
            Self::StepStarted => "step_started",
            Self::AgentUndoing => "agent_undoing",
        }
    }

    /// The type of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Whether a run has exactly one of these, as its last event.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::AgentCompleted | Self::AgentFailed | Self::AgentCancelled)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What all events of one run have in common. Made once per run and shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHeader {
    /// The owner.
    pub scope: UserScope,
    /// The conversation.
    pub thread: ThreadId,
    /// The execution.
    pub run: RunId,
    /// The run that started this one as a child.
    pub parent: Option<RunId>,
    /// The name of the agent class.
    pub agent: Arc<str>,
}

/// An event before the log has given it a `seq`.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// What kind of event it is.
    pub kind: EventType,
    /// When it happened.
    pub at: Timestamp,
    /// What its readers see.
    pub data: RawJson,
    /// What a resumed run needs and readers must not see, a result before redaction for example. Only
    /// [`RunQueue::journal`](crate::RunQueue::journal) returns it.
    pub journal: Option<RawJson>,
}

/// An event of the log, as its owner reads it.
///
/// It serializes to the envelope of the wire: `seq, type, user_id, thread_id, run_id, parent_run_id?, agent, timestamp,
/// data`.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its place in the thread: 1, 2, 3, without gaps.
    pub seq: u64,
    /// What kind of event it is.
    pub kind: EventType,
    /// When it happened. Never decreases within a run.
    pub at: Timestamp,
    /// What it says.
    pub data: RawJson,
    /// Whose it is.
    pub header: Arc<RunHeader>,
}

impl Event {
    /// The data as a typed value.
    ///
    /// # Errors
    /// When the data has another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.data.get())
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parent = &self.header.parent;
        let mut event = serializer.serialize_struct("Event", 8 + usize::from(parent.is_some()))?;
        event.serialize_field("seq", &self.seq)?;
        event.serialize_field("type", &self.kind)?;
        event.serialize_field("user_id", self.header.scope.user())?;
        event.serialize_field("thread_id", &self.header.thread)?;
        event.serialize_field("run_id", &self.header.run)?;
        match parent {
            Some(parent) => event.serialize_field("parent_run_id", parent)?,
            None => event.skip_field("parent_run_id")?,
        }
        event.serialize_field("agent", &self.header.agent)?;
        event.serialize_field("timestamp", &self.at)?;
        event.serialize_field("data", &self.data)?;
        event.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_word() {
        for kind in EventType::ALL {
            assert_eq!(EventType::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(EventType::parse("agent_paused"), None);
    }
}
