//! Events in pages, and the gaps between them. An event itself is [`insula_infra::Event`], whose JSON is the envelope.

use insula_infra::Event;
use serde::Serialize;
use utoipa::ToSchema;

/// The envelope of an event, for the description of the API.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct EventShape {
    /// Its place in the thread: 1, 2, 3, without gaps.
    pub seq: u64,
    /// What kind of event it is, `tool_completed` for example.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose it is.
    pub user_id: String,
    /// In which conversation it happened.
    pub thread_id: String,
    /// In which run.
    pub run_id: String,
    /// The run that started this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_run_id: Option<String>,
    /// The agent class of the run.
    pub agent: String,
    /// When.
    pub timestamp: String,
    /// What it says.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    /// Events with `seq` behind `after`, in order.
    #[schema(value_type = Vec<EventShape>)]
    pub events: Vec<Event>,
    /// What was asked for.
    pub after: u64,
    /// The `seq` of the thread's last event.
    pub head: u64,
    /// The `after` of the next page, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Events behind `after` that are not kept any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<PageGap>,
}

/// Events that are not kept any more.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct PageGap {
    /// The last `seq` before the gap.
    pub after: u64,
    /// The first `seq` behind it.
    pub next: u64,
}

/// Why a reader is told of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The reader has fallen behind. Nothing is lost: the events follow, from the log.
    Behind,
    /// The events in between are not kept any more.
    NotKept,
}

/// A reader is told that it does not see what happens now, or will never see some of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Gap {
    /// In which conversation.
    pub thread_id: String,
    /// The last `seq` that the reader has.
    pub after: u64,
    /// The `seq` of the event that comes next.
    pub next: u64,
    /// The `seq` of the conversation's last event.
    pub head: u64,
    /// Why.
    pub reason: GapReason,
}
