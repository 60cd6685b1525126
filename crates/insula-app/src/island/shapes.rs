//! The JSON of the wire, as far as tables and views read it.

use insula_context::{CancelReason, Timestamp};
use insula_infra::{EventType, Failure, RunStatus};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// An event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Event {
    pub seq: u64,
    /// The word for its kind, which a newer server may have made up.
    #[serde(rename = "type")]
    pub word: String,
    pub run_id: String,
    #[serde(default)]
    pub parent_run_id: Option<String>,
    pub agent: String,
    #[serde(rename = "timestamp")]
    pub at: Timestamp,
    pub data: Value,
}

impl Event {
    /// Its kind, if it is one that is known here.
    pub(crate) fn kind(&self) -> Option<EventType> {
        EventType::parse(&self.word)
    }

    /// Whether it is the last one of this run.
    pub(crate) fn ends(&self, run: &str) -> bool {
        self.run_id == run && self.kind().is_some_and(EventType::is_terminal)
    }
}

impl From<&insula_infra::Event> for Event {
    fn from(event: &insula_infra::Event) -> Self {
        Self {
            seq: event.seq,
            word: event.kind.as_str().to_owned(),
            run_id: event.header.run.to_string(),
            parent_run_id: event.header.parent.as_ref().map(ToString::to_string),
            agent: event.header.agent.to_string(),
            at: event.at,
            data: event.data().unwrap_or_default(),
        }
    }
}

/// A run.
#[derive(Debug, Deserialize)]
pub(crate) struct Run {
    pub run_id: String,
    pub thread_id: String,
    #[serde(default)]
    pub parent_run_id: Option<String>,
    pub agent: String,
    #[serde(deserialize_with = "status")]
    pub status: RunStatus,
    /// Only where one run was asked for.
    #[serde(default)]
    pub input: Value,
    #[serde(default)]
    pub result: Option<Value>,
    #[serde(default)]
    pub failure: Option<Failure>,
    #[serde(default)]
    pub cancel: Option<CancelReason>,
    pub created_at: Timestamp,
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    pub events: u64,
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RunStatus, D::Error> {
    let word = String::deserialize(deserializer)?;
    RunStatus::parse(&word).ok_or_else(|| D::Error::custom(format!("\"{word}\" is no status of a run")))
}

/// An open question.
#[derive(Debug, Deserialize)]
pub(crate) struct Question {
    pub run_id: String,
    pub agent: String,
    pub index: u32,
    pub waiting_for: String,
    pub question: Value,
    pub asked_at: Timestamp,
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A conversation.
#[derive(Debug, Deserialize)]
pub(crate) struct Conversation {
    pub thread_id: String,
    pub created_at: Timestamp,
    pub head: u64,
    #[serde(default)]
    pub forked_from: Option<ForkedFrom>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ForkedFrom {
    pub thread_id: String,
    pub seq: u64,
}

/// A schedule.
#[derive(Debug, Deserialize)]
pub(crate) struct Planned {
    pub name: String,
    pub cron: String,
    pub zone: String,
    pub missed: String,
    pub agent: String,
    /// Nothing while it is paused.
    #[serde(default)]
    pub next_at: Option<Timestamp>,
}

/// An agent class.
#[derive(Debug, Deserialize)]
pub(crate) struct Agent {
    pub name: String,
    pub version: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub dependencies: Vec<Need>,
    #[serde(default)]
    pub input_schema: Value,
    #[serde(default)]
    pub output_schema: Value,
    #[serde(default)]
    pub config_schema: Value,
}

/// Something that a class needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Need {
    Database,
    Cache,
    Tool(String),
    Agent(String),
    Service(String),
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Database => f.write_str("the database"),
            Self::Cache => f.write_str("the cache"),
            Self::Tool(name) => write!(f, "the tool \"{name}\""),
            Self::Agent(name) => write!(f, "the agent \"{name}\""),
            Self::Service(name) => write!(f, "the service \"{name}\""),
        }
    }
}
