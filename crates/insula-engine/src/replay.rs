//! What a run's journal says that has happened, by each call's place in the order of calls. Pure: entries in, record out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use insula_agent::{Effect, ToolFailure};
use insula_context::{Amounts, Timestamp, Unit};
use insula_infra::{EventType, JournalEntry, PayloadHash, RawJson, WaitFor};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    budget,
    events::{self, CallKind, Ended, ToolStatus, Why},
    journal::Open,
    machine::Ending,
};

/// What is recorded of a run.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Recorded {
    /// The version of the class that the run was started on; `None` when it was never started.
    pub version: Option<String>,
    pub calls: BTreeMap<u32, Call>,
    pub thoughts: u64,
    /// The agent's own events.
    pub customs: u64,
    pub tool_calls: u64,
    pub steps: u64,
    /// Calls that a failed run undoes, by their place.
    pub undoable: BTreeMap<u32, Undoable>,
    /// Calls whose undoing has begun and not ended.
    pub undoing: BTreeSet<u32>,
    /// How the run ended, if what it did was being undone.
    pub ending: Option<Ending>,
    /// What its calls and its children have cost.
    pub spent: Amounts,
    /// Which budgets it was said of that they are nearly spent.
    pub warned: Vec<Warned>,
    /// How often the run was begun again from the top.
    pub retries: u32,
    /// Calls that failed in an earlier attempt and are made again, with the number of the attempt.
    pub again: BTreeMap<u32, u32>,
    /// Failed calls that may be repeated, and that nothing recorded has followed.
    pub failed: BTreeSet<u32>,
}

/// An account of which it was said that it is nearly spent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Warned {
    pub holder: String,
    pub unit: Unit,
}

/// A call that took effect and can be undone. Both values are as the log has them: large ones by reference.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Undoable {
    pub tool: String,
    pub arguments: Text,
    /// `None` when it was interrupted: whether it took effect is not known.
    pub result: Option<Text>,
}

/// JSON text, compared as text.
#[derive(Debug, Clone)]
pub(crate) struct Text(pub RawJson);

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// One call that was made before.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub kind: CallKind,
    pub name: String,
    pub past: Past,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Past {
    Gave(Value),
    /// It gave a large value, which is kept under this hash.
    GaveLarge(PayloadHash),
    Failed(ToolFailure),
    /// The agent did not wait for it: it gave nothing and never will.
    GivenUp,
    /// The tool was being called, or the step done, and nobody knows how far that went.
    Executing {
        effect: Effect,
        asked: Asked,
    },
    /// The run was waiting.
    Waiting {
        until: Option<Timestamp>,
    },
    /// The wait was over, and its result was not recorded any more.
    Waited(Why),
}

impl Past {
    /// Whether it is returned instead of being done (again).
    pub(crate) const fn is_settled(&self) -> bool {
        matches!(self, Self::Gave(_) | Self::GaveLarge(_) | Self::Failed(_) | Self::GivenUp)
    }
}

/// Whether a human was asked what became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Yes,
    No,
}

#[derive(Deserialize)]
struct Started {
    version: String,
}

#[derive(Deserialize)]
struct Executing {
    call_id: String,
    tool: String,
    effect: Effect,
    arguments: RawJson,
}

#[derive(Deserialize)]
struct StepBegan {
    index: u32,
    name: String,
    effect: Effect,
}

#[derive(Deserialize)]
struct Completed {
    index: u32,
    tool: String,
    #[serde(default)]
    undo: bool,
    status: ToolStatus,
    result: Option<RawJson>,
    error: Option<String>,
    spent: Option<Amounts>,
    #[serde(default)]
    duration_ms: f64,
}

#[derive(Deserialize)]
struct Stepped {
    index: u32,
    name: String,
    #[serde(default)]
    kind: CallKind,
    result: RawJson,
    spent: Option<Amounts>,
}

/// A wait of the agent has an index, that of a run for its next attempt has the attempt's number.
#[derive(Deserialize)]
struct Waits {
    waiting_for: String,
    index: Option<u32>,
    attempt: Option<u32>,
    until: Option<Timestamp>,
    agent: Option<String>,
}

#[derive(Deserialize)]
struct Resumes {
    why: Why,
}

impl Recorded {
    /// Reads a run's journal.
    ///
    /// # Errors
    /// In words, when an entry is not what this engine writes.
    pub(crate) fn read(entries: &[JournalEntry]) -> Result<Self, String> {
        let mut recorded = Self::default();
        for (n, entry) in entries.iter().enumerate() {
            let damaged = |problem| format!("its event {} ({}) cannot be read: {problem}", n + 1, entry.kind);
            recorded.take(entry).map_err(damaged)?;
        }
        Ok(recorded)
    }

    fn take(&mut self, entry: &JournalEntry) -> Result<(), String> {
        match entry.kind {
            EventType::AgentStarted => self.version = Some(parse::<Started>(&entry.data)?.version),
            EventType::AgentThinking => self.thoughts += 1,
            EventType::Custom => self.customs += 1,
            EventType::ToolExecuting => self.executing(parse(&entry.data)?, entry)?,
            EventType::ToolCompleted => self.completed(parse(&entry.data)?, entry)?,
            EventType::StepCompleted => self.stepped(parse(&entry.data)?, entry)?,
            EventType::BudgetWarning => self.warned.push(parse(&entry.data)?),
            EventType::StepStarted => self.began(parse(&entry.data)?),
            EventType::AgentUndoing => self.ending = entry.journal.as_ref().map(parse).transpose()?,
            EventType::AgentWaiting => self.waiting(&parse(&entry.data)?),
            EventType::AgentResumed => self.resumed(&parse(&entry.data)?, entry)?,
            _ => {}
        }
        Ok(())
    }

    fn executing(&mut self, said: Executing, entry: &JournalEntry) -> Result<(), String> {
        if let Some(index) = said.call_id.strip_prefix('u') {
            self.undoing.extend(index.parse::<u32>());
            return Ok(());
        }
        let place = said.call_id.strip_prefix('c').map(|id| id.split_once('.').map_or(id, |(index, _)| index));
        let index = place.and_then(|index| index.parse().ok());
        let index = index.ok_or_else(|| format!("\"{}\" is no call id", said.call_id))?;
        self.tool_calls += 1;
        self.failed.clear();
        if said.effect == Effect::Compensable {
            let arguments = Text(entry.journal.clone().unwrap_or(said.arguments));
            self.undoable.insert(index, Undoable { tool: said.tool.clone(), arguments, result: None });
        }
        self.enter(index, CallKind::Tool, said.tool, Past::Executing { effect: said.effect, asked: Asked::No });
        Ok(())
    }

    fn completed(&mut self, said: Completed, entry: &JournalEntry) -> Result<(), String> {
        if said.undo {
            self.undoable.remove(&said.index);
            self.undoing.remove(&said.index);
            return Ok(());
        }
        self.spent = self.spent.plus(cost(&said, entry)).plus(said.spent.unwrap_or_default());
        self.took_effect(&said, entry);
        let past = match (said.status, &entry.journal) {
            (ToolStatus::Ok, _) => gave(said.result.as_ref(), entry)?,
            (ToolStatus::Aborted, _) => Past::GivenUp,
            (_, Some(failure)) => Past::Failed(parse(failure)?),
            (_, None) => Past::Failed(ToolFailure::Failed { message: said.error.unwrap_or_default() }),
        };
        if matches!(past, Past::Failed(_)) && self.is_repeatable(said.index) {
            self.failed.insert(said.index);
        }
        self.enter(said.index, CallKind::Tool, said.tool, past);
        Ok(())
    }

    /// Keeps what it takes to undo a call that took effect, and forgets one that did not.
    fn took_effect(&mut self, said: &Completed, entry: &JournalEntry) {
        if said.status == ToolStatus::Error {
            self.undoable.remove(&said.index);
        }
        let result = entry.journal.as_ref().or(said.result.as_ref()).filter(|_| said.status == ToolStatus::Ok);
        if let (Some(undoable), Some(result)) = (self.undoable.get_mut(&said.index), result) {
            undoable.result = Some(Text(Arc::clone(result)));
        }
    }

    fn began(&mut self, said: StepBegan) {
        self.failed.clear();
        let past = Past::Executing { effect: said.effect, asked: Asked::No };
        self.enter(said.index, CallKind::Step, said.name, past);
    }

    fn stepped(&mut self, said: Stepped, entry: &JournalEntry) -> Result<(), String> {
        // A wait has said before what it waits for.
        let kind = self.calls.get(&said.index).map_or(said.kind, |call| call.kind);
        self.steps += 1;
        self.failed.clear();
        self.spent = self.spent.plus(said.spent.unwrap_or_default());
        self.enter(said.index, kind, said.name, gave(Some(&said.result), entry)?);
        Ok(())
    }

    fn waiting(&mut self, said: &Waits) {
        if let Some(attempt) = said.attempt {
            return self.begin_again(attempt);
        }
        let Some(index) = said.index else { return };
        self.failed.clear();
        let (kind, name) = match (WaitFor::parse(&said.waiting_for), &said.agent) {
            (Some(WaitFor::Reconcile), _) => return self.asked(index, Asked::Yes),
            (Some(WaitFor::Human), _) => (CallKind::Answer, "ask"),
            (Some(WaitFor::Child), Some(agent)) => (CallKind::Agent, agent.as_str()),
            _ => (CallKind::Timer, "sleep"),
        };
        self.enter(index, kind, name.to_owned(), Past::Waiting { until: said.until });
    }

    fn asked(&mut self, index: u32, now: Asked) {
        if let Some(Call { past: Past::Executing { asked, .. }, .. }) = self.calls.get_mut(&index) {
            *asked = now;
        }
    }

    fn resumed(&mut self, said: &Resumes, entry: &JournalEntry) -> Result<(), String> {
        let Some(ended) = &entry.journal else { return Ok(()) };
        let Ended { index } = parse(ended)?;
        if said.why == Why::Reconciled {
            self.asked(index, Asked::No);
        } else if let Some(call) = self.calls.get_mut(&index) {
            call.past = if said.why == Why::GivenUp { Past::GivenUp } else { Past::Waited(said.why) };
        }
        Ok(())
    }

    /// The next attempt gets what this one has recorded, but for the failures that it ended with: those calls are made
    /// again. A failure that the agent has gone on after stays as it was, because what it did then was an answer to it.
    fn begin_again(&mut self, attempt: u32) {
        self.retries = attempt.saturating_sub(1);
        for index in std::mem::take(&mut self.failed) {
            self.calls.remove(&index);
            self.again.insert(index, attempt);
        }
    }

    fn is_repeatable(&self, index: u32) -> bool {
        let past = self.calls.get(&index).map(|call| &call.past);
        matches!(past, Some(Past::Executing { effect: Effect::Pure | Effect::Idempotent, .. }))
    }

    fn enter(&mut self, index: u32, kind: CallKind, name: String, past: Past) {
        self.calls.insert(index, Call { kind, name, past });
    }

    /// A call of a tool under its id. One that is made again in another attempt has another id, and the same key.
    pub(crate) fn call(&self, index: u32, tool: &str, since: Timestamp) -> Open {
        match self.again.get(&index) {
            Some(attempt) => Open::in_attempt(*attempt, index, tool, since),
            None => Open::new(index, tool, since),
        }
    }

    /// The calls whose `tool_completed` is owed.
    pub(crate) fn open(&self, now: Timestamp) -> Vec<Open> {
        let is_open = |call: &Call| call.kind == CallKind::Tool && matches!(call.past, Past::Executing { .. });
        let executing = self.calls.iter().filter(|(_, call)| is_open(call));
        executing.map(|(index, call)| self.call(*index, &call.name, now)).collect()
    }
}

fn parse<T: DeserializeOwned>(data: &RawJson) -> Result<T, String> {
    serde_json::from_str(data.get()).map_err(|error| error.to_string())
}

/// What a call cost beside what its tool has reported, as it was counted when it ended.
fn cost(said: &Completed, entry: &JournalEntry) -> Amounts {
    let whole = entry.journal.as_ref().filter(|_| said.status == ToolStatus::Ok);
    let bytes = whole.map(|whole| whole.get().len()).or_else(|| said.result.as_ref().map(events::bytes_of));
    budget::counted(bytes.unwrap_or(0), Duration::from_secs_f64(said.duration_ms.max(0.0) / 1e3))
}

/// The whole value: what only the engine sees, where readers see less.
fn gave(shown: Option<&RawJson>, entry: &JournalEntry) -> Result<Past, String> {
    match (&entry.journal, shown) {
        (Some(whole), _) => parse(whole).map(Past::Gave),
        // An absent result and one that is null look the same.
        (None, None) => Ok(Past::Gave(Value::Null)),
        (None, Some(shown)) => match events::reference(shown) {
            Some(hash) => Ok(Past::GaveLarge(hash)),
            None => parse(shown).map(Past::Gave),
        },
    }
}

#[cfg(test)]
mod attempts;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    pub(super) fn entry(kind: EventType, data: &Value, journal: Option<Value>) -> JournalEntry {
        let raw = |value: &Value| RawJson::from(serde_json::value::to_raw_value(value).unwrap());
        JournalEntry { kind, data: raw(data), journal: journal.as_ref().map(raw) }
    }

    fn call(entries: &[JournalEntry]) -> Option<Call> {
        Recorded::read(entries).unwrap().calls.remove(&3)
    }

    pub(super) fn executing(effect: &str) -> JournalEntry {
        let said = json!({"call_id": "c3", "tool": "pay", "arguments": 1, "effect": effect});
        entry(EventType::ToolExecuting, &said, None)
    }

    pub(super) fn completed(status: &str, more: &Value, journal: Option<Value>) -> JournalEntry {
        let mut said = json!({"call_id": "c3", "tool": "pay", "index": 3, "status": status, "duration_ms": 1.0});
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry(EventType::ToolCompleted, &said, journal)
    }

    #[test]
    fn each_end_of_a_tool_is_recorded_as_what_it_was() {
        let hash = PayloadHash::of(b"large");
        let reference = json!({"result": {"$payload": hash.to_string(), "bytes": 5}});
        let failure = ToolFailure::Timeout { after: Duration::from_millis(1_500) };
        let table = [
            (completed("ok", &json!({"result": 7}), None), Past::Gave(json!(7))),
            (completed("ok", &json!({"result": null}), None), Past::Gave(Value::Null)),
            (completed("ok", &json!({"result": "[redacted]"}), Some(json!("s"))), Past::Gave(json!("s"))),
            (completed("ok", &reference, None), Past::GaveLarge(hash)),
            // What only the engine sees is never a reference, whatever it looks like.
            (completed("ok", &reference, Some(reference.clone())), Past::Gave(reference.clone())),
            (completed("timeout", &json!({"error": "no"}), Some(json!(failure))), Past::Failed(failure)),
            (completed("aborted", &json!({"error": "stopped"}), None), Past::GivenUp),
        ];
        for (end, past) in table {
            let expected = Call { kind: CallKind::Tool, name: "pay".to_owned(), past };
            assert_eq!(call(&[executing("once"), end]), Some(expected));
        }
        assert_eq!(
            call(&[executing("once")]).unwrap().past,
            Past::Executing { effect: Effect::Once, asked: Asked::No }
        );
    }

    #[test]
    fn a_wait_is_open_until_its_own_resumption() {
        let until = Timestamp::from_micros(1_700_000_000_123_456);
        let waiting = |kind: &str| {
            let said = json!({"waiting_for": kind, "index": 3, "until": until});
            entry(EventType::AgentWaiting, &said, None)
        };
        let resumed =
            |why: &str, index: u32| entry(EventType::AgentResumed, &json!({"why": why}), Some(json!({"index": index})));
        let lost = entry(EventType::AgentResumed, &json!({"why": "worker lost"}), None);
        let done = entry(EventType::StepCompleted, &json!({"index": 3, "name": "sleep", "result": true}), None);
        let open = Past::Waiting { until: Some(until) };
        let table: [(&str, Vec<JournalEntry>, Past); 6] = [
            ("timer", vec![], open.clone()),
            ("human", vec![lost], open.clone()),
            ("timer", vec![resumed("timer", 2)], open),
            ("timer", vec![resumed("timer", 3)], Past::Waited(Why::Timer)),
            ("human", vec![resumed("given_up", 3)], Past::GivenUp),
            ("timer", vec![resumed("timer", 3), done], Past::Gave(json!(true))),
        ];
        for (kind, then, past) in table {
            let found = call(&[vec![waiting(kind)], then].concat()).unwrap();
            let expected = if kind == "human" { CallKind::Answer } else { CallKind::Timer };
            assert_eq!((found.kind, found.past), (expected, past));
        }
    }

    #[test]
    fn counts_go_on_from_what_was_said() {
        let said = |kind| entry(kind, &json!({"version": "2"}), None);
        let step = entry(EventType::StepCompleted, &json!({"index": 0, "name": "plan", "result": 1}), None);
        let child = json!({"index": 1, "name": "kid", "kind": "agent", "result": 1});
        let entries = [
            said(EventType::AgentQueued),
            said(EventType::AgentStarted),
            said(EventType::AgentThinking),
            said(EventType::Custom),
            said(EventType::AgentThinking),
            executing("pure"),
            step,
            entry(EventType::StepCompleted, &child, None),
        ];
        let read = Recorded::read(&entries).unwrap();
        assert_eq!((read.thoughts, read.customs, read.tool_calls, read.steps), (2, 1, 1, 2));
        assert_eq!((read.version.as_deref(), read.calls[&1].kind), (Some("2"), CallKind::Agent));
        let open = read.open(Timestamp::from_micros(5));
        assert_eq!(open.iter().map(|open| (open.index, &*open.id)).collect::<Vec<_>>(), [(3, "c3")]);
        assert_eq!(Recorded::read(&entries[..1]).unwrap(), Recorded::default(), "it has only been queued");
    }

    #[test]
    fn an_entry_that_nobody_wrote_is_named() {
        let damaged = Recorded::read(&[executing("pure"), entry(EventType::StepCompleted, &json!({}), None)]);
        assert!(damaged.unwrap_err().starts_with("its event 2 (step_completed) cannot be read: "));
    }
}
