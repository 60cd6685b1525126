//! What the engine writes into events. The shapes are those of the wire and change only by addition.

use std::{sync::Arc, time::Duration};

use insula_agent::{Effect, InstanceMarker, Question};
use insula_context::{Amounts, CancelReason, RunId, Timestamp};
use insula_infra::{EventType, FailReason, NewEvent, Payload, PayloadHash, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{Error, redact};

/// `agent_started`.
#[derive(Serialize)]
pub(crate) struct Started<'a> {
    pub class: &'a str,
    pub version: &'a str,
    pub input: &'a RawValue,
    pub marker: InstanceMarker,
}

/// `agent_thinking`. `step` counts the run's thoughts from 1.
#[derive(Serialize)]
pub(crate) struct Thinking<'a> {
    pub text: &'a str,
    pub step: u64,
}

/// `tool_executing`.
#[derive(Serialize)]
pub(crate) struct ToolExecuting<'a> {
    pub call_id: &'a str,
    pub tool: &'a str,
    pub arguments: &'a RawValue,
    pub effect: Effect,
    /// Whether an earlier call is being undone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
}

/// How a call of a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToolStatus {
    Ok,
    Error,
    Timeout,
    Aborted,
    /// It was stopped and went on all the same: nobody waits for it any more.
    Abandoned,
}

/// `tool_completed`.
#[derive(Serialize)]
pub(crate) struct ToolCompleted<'a> {
    pub call_id: &'a str,
    pub tool: &'a str,
    /// The call's place in the order of calls, for a resumed run.
    pub index: u32,
    pub status: ToolStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// How often the tool was called, where that is more than once.
    #[serde(skip_serializing_if = "is_one")]
    pub attempts: u32,
    /// What the tool has reported as spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<Amounts>,
    pub duration_ms: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
}

/// `step_started`.
#[derive(Serialize)]
pub(crate) struct StepStarted<'a> {
    pub index: u32,
    pub name: &'a str,
    pub effect: Effect,
}

/// `agent_undoing`. How the run ended goes into the event's journal part.
#[derive(Serialize)]
pub(crate) struct Undoing {
    /// How many calls there are to undo.
    pub calls: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(attempts: &u32) -> bool {
    *attempts == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_none(amount: &u64) -> bool {
    *amount == 0
}

/// What kind of call takes a place in the order of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallKind {
    #[default]
    Step,
    Tool,
    Agent,
    Answer,
    Timer,
    Time,
    Random,
}

impl CallKind {
    /// Whether an event need not name it: plain steps have none, and a wait has said what it waits for.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn goes_without_saying(&self) -> bool {
        matches!(self, Self::Step | Self::Answer | Self::Timer)
    }
}

/// `step_completed`: a step, a child's result, a recorded time.
#[derive(Serialize)]
pub(crate) struct StepCompleted<'a> {
    pub index: u32,
    pub name: &'a str,
    #[serde(skip_serializing_if = "CallKind::goes_without_saying")]
    pub kind: CallKind,
    pub result: &'a RawValue,
    /// What a child has spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent: Option<Amounts>,
}

/// What a run used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Calls of tools that were really made.
    pub tool_calls: u64,
    /// Steps that were recorded.
    pub steps: u64,
    /// Events of the run, the last one included.
    pub events: u64,
    /// Tokens of models, those of its children included.
    #[serde(default, skip_serializing_if = "is_none")]
    pub tokens: u64,
    /// Money in millionths of the installation's currency, that of its children included.
    #[serde(default, skip_serializing_if = "is_none")]
    pub money: u64,
}

/// `agent_completed`.
#[derive(Serialize)]
pub(crate) struct Completed<'a> {
    pub result: &'a RawValue,
    pub usage: Usage,
    pub duration_ms: f64,
}

/// `agent_failed`. The cause is for the operator and goes into the event's journal part.
#[derive(Serialize)]
pub(crate) struct Failed<'a> {
    pub reason: FailReason,
    pub message: &'a str,
    pub duration_ms: f64,
}

/// The operator's part of `agent_failed`.
#[derive(Serialize)]
pub(crate) struct Cause<'a> {
    pub cause: &'a str,
}

/// `agent_cancelled`.
#[derive(Serialize)]
pub(crate) struct Cancelled<'a> {
    #[serde(flatten)]
    pub reason: &'a CancelReason,
    pub duration_ms: f64,
}

/// `agent_queued`.
#[derive(Serialize)]
pub(crate) struct Queued {
    /// How many of this user's runs are before it, itself included.
    pub position: usize,
}

/// `agent_waiting`.
#[derive(Serialize)]
pub(crate) struct Waiting<'a> {
    pub waiting_for: &'a str,
    pub index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<&'a Question>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The child that is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<&'a RunId>,
    /// The child's class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<&'a str>,
}

/// `agent_waiting` of a run that failed and begins again from the top.
#[derive(Serialize)]
pub(crate) struct Retrying<'a> {
    pub waiting_for: &'a str,
    /// Which attempt is waited for; the first was 1.
    pub attempt: u32,
    /// Why the one before has failed.
    pub error: &'a str,
    pub until: Timestamp,
}

/// `agent_resumed`.
#[derive(Serialize)]
pub(crate) struct Resumed {
    pub why: Why,
}

/// Why a run goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Why {
    #[serde(rename = "worker lost")]
    WorkerLost,
    Answered,
    /// Nobody answered in time.
    Expired,
    Timer,
    /// The child has ended.
    Child,
    /// Somebody knew what became of an interrupted call.
    Reconciled,
    /// The agent did not wait any longer.
    GivenUp,
}

/// The engine's part of `agent_resumed`: which wait has ended.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ended {
    pub index: u32,
}

/// `custom`.
#[derive(Serialize)]
pub(crate) struct Custom<'a> {
    pub name: &'a str,
    pub data: &'a RawValue,
}

/// Where a value too large for an event is found.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    #[serde(rename = "$payload")]
    hash: String,
    bytes: usize,
}

/// How every reference begins. A small value that begins like one is kept by reference as well, so that none is taken for
/// one.
const REFERENCE: &str = "{\"$payload\":";

/// The hash that a reference leads to; `None` when the value is not a reference.
pub(crate) fn reference(value: &RawJson) -> Option<PayloadHash> {
    if !value.get().starts_with(REFERENCE) {
        return None;
    }
    serde_json::from_str::<Reference>(value.get()).ok()?.hash.parse().ok()
}

/// How large a value is that is shown like this.
pub(crate) fn bytes_of(shown: &RawJson) -> usize {
    match shown.get().starts_with(REFERENCE).then(|| serde_json::from_str::<Reference>(shown.get())) {
        Some(Ok(reference)) => reference.bytes,
        _ => shown.get().len(),
    }
}

/// JSON text of a value that has one.
pub(crate) fn raw<T: Serialize + ?Sized>(what: &'static str, value: &T) -> Result<RawJson, Error> {
    let text = serde_json::value::to_raw_value(value);
    text.map(Into::into).map_err(|e| Error::Json { what, problem: e.to_string() })
}

/// An event. Its data always has a JSON form: it is one of the structs above.
pub(crate) fn event(kind: EventType, at: Timestamp, data: &impl Serialize) -> NewEvent {
    let data = serde_json::value::to_raw_value(data).unwrap_or_else(|_| RawValue::NULL.to_owned());
    NewEvent { kind, at, data: data.into(), journal: None }
}

/// A value as it is shown: without secrets, and by reference where it is large.
pub(crate) struct Shown {
    /// What goes into the event.
    pub shown: RawJson,
    /// The whole value, where what is shown is not all of it.
    pub whole: Option<RawJson>,
    /// The bytes that a reference leads to.
    pub payload: Option<Payload>,
}

/// A small value of the engine's own.
pub(crate) fn shown(value: &Value) -> RawJson {
    raw("a value", value).unwrap_or_else(|_| RawValue::NULL.to_owned().into())
}

/// An event, with a large value beside it.
pub(crate) type Saying = (NewEvent, Option<Payload>);

/// Prepares a value for an event.
pub(crate) fn show(what: &'static str, value: &Value) -> Result<Shown, Error> {
    let visible = redact::secrets(value);
    let redacted = matches!(visible, std::borrow::Cow::Owned(_));
    let shown = raw(what, &*visible)?;
    let whole = if redacted { Some(raw(what, value)?) } else { None };
    Ok(by_reference(shown, whole))
}

impl Shown {
    /// How large the whole value is.
    pub(crate) fn bytes(&self) -> usize {
        let inline = || self.whole.as_ref().unwrap_or(&self.shown).get().len();
        self.payload.as_ref().filter(|_| self.whole.is_none()).map_or_else(inline, |payload| payload.bytes().len())
    }

    /// The whole value as the run's row keeps it.
    pub(crate) fn stored(&self) -> (RawJson, Option<Payload>) {
        match &self.whole {
            None => (Arc::clone(&self.shown), self.payload.clone()),
            Some(whole) => {
                let Self { shown, payload, .. } = by_reference(Arc::clone(whole), None);
                (shown, payload)
            }
        }
    }
}

/// Replaces a large text by a reference to it.
pub(crate) fn by_reference(shown: RawJson, whole: Option<RawJson>) -> Shown {
    if shown.get().len() <= Payload::INLINE_BYTES && !shown.get().starts_with(REFERENCE) {
        return Shown { shown, whole, payload: None };
    }
    let payload = Payload::new(shown.get().as_bytes().to_vec());
    let reference = Reference { hash: payload.hash().to_string(), bytes: payload.bytes().len() };
    let text = serde_json::value::to_raw_value(&reference).unwrap_or_else(|_| RawValue::NULL.to_owned());
    Shown { shown: Arc::from(text), whole, payload: Some(payload) }
}

/// Milliseconds with a fraction.
pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
