//! What is recorded of a run, to be compared call by call with what the agent does now.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use insula_agent::{CallSite, Error as AgentError};
use insula_infra::{EventType, FailReason, Failure, JournalEntry, RawJson, RunChange};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Difference, Replay};
use crate::{
    Archive, End, Error, Part,
    archive::ArchivedRun,
    events::{self, CallKind},
    history::words,
    redact,
    replay::{Past, Recorded},
};

pub(super) struct Tape {
    version: Option<String>,
    marker: Option<u128>,
    end: End,
    /// Whether what is recorded is what readers see.
    is_shown: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<u32, Expected>,
    thoughts: VecDeque<String>,
    customs: VecDeque<(String, Value)>,
    compared: u64,
    said: u64,
    said_otherwise: bool,
    /// Whether the agent was given an answer that never comes.
    waits: bool,
    ended_otherwise: bool,
    first: Option<Difference>,
}

struct Expected {
    kind: CallKind,
    name: String,
    past: Past,
    /// What a tool was given, as readers see it.
    arguments: Option<Value>,
}

/// What the record says of a call.
pub(super) enum Taken {
    Past(Past),
    /// Nothing.
    Absent,
}

#[derive(Deserialize)]
struct Thought {
    text: String,
}

#[derive(Deserialize)]
struct Own {
    name: String,
    data: RawJson,
}

#[derive(Deserialize)]
struct Asked {
    call_id: String,
    arguments: RawJson,
}

#[derive(Deserialize)]
struct Started {
    marker: String,
}

impl Tape {
    /// Reads what is recorded of an archive's first run.
    pub(super) fn new(archive: &Archive) -> Result<Self, Error> {
        let entries = archive.root().entries();
        let damaged = |problem| Error::Json { what: "the record", problem };
        let mut recorded = Recorded::read(&entries).map_err(damaged)?;
        let mut state = State::default();
        let mut arguments = BTreeMap::new();
        let mut marker = None;
        for entry in &entries {
            match entry.kind {
                EventType::AgentThinking => state.thoughts.push_back(parse::<Thought>(entry)?.text),
                EventType::Custom => {
                    let Own { name, data } = parse(entry)?;
                    state.customs.push_back((name, visible(&data)?));
                }
                EventType::ToolExecuting => {
                    let said: Asked = parse(entry)?;
                    arguments.insert(said.call_id, visible(&said.arguments)?);
                }
                EventType::AgentStarted => {
                    marker = parse::<Started>(entry).ok().and_then(|s| u128::from_str_radix(&s.marker, 16).ok());
                }
                _ => {}
            }
        }
        for (index, call) in std::mem::take(&mut recorded.calls) {
            let past = match call.past {
                Past::GaveLarge(hash) => Past::Gave(archive.payload(&hash)?),
                past => past,
            };
            let arguments = arguments.remove(&format!("c{index}"));
            state.calls.insert(index, Expected { kind: call.kind, name: call.name, past, arguments });
        }
        let end = recorded_end(archive, &entries)?;
        let is_shown = archive.part() == Part::Shown;
        Ok(Self { version: recorded.version, marker, end, is_shown, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn was_started(&self) -> bool {
        self.version.is_some()
    }

    /// The mark of the instance that ran then.
    pub(super) const fn marker(&self) -> Option<u128> {
        self.marker
    }

    /// Whether the run was ended by somebody or something outside of the agent.
    pub(super) const fn was_stopped(&self) -> bool {
        match &self.end {
            End::Cancelled(_) => true,
            End::Failed(Failure { reason, .. }) => {
                matches!(reason, FailReason::Timeout | FailReason::Budget | FailReason::Lost)
            }
            End::Completed(_) => false,
        }
    }

    /// Whether the run was stopped from outside, and the agent has come to where that was: nothing more is recorded, or it
    /// waits for what never came.
    pub(super) fn is_where_it_was_stopped(&self) -> bool {
        let state = self.state();
        let all_said = state.thoughts.is_empty() && state.customs.is_empty();
        self.was_stopped() && state.calls.is_empty() && (all_said || state.waits)
    }

    /// Whether something is recorded behind this call.
    pub(super) fn goes_on_after(&self, site: &CallSite) -> bool {
        self.state().calls.last_key_value().is_some_and(|(last, _)| *last > site.index)
    }

    /// Waits for what never came.
    pub(super) async fn never(&self) -> Value {
        self.state().waits = true;
        std::future::pending().await
    }

    /// What became of this call then, once.
    ///
    /// # Errors
    /// When another call is recorded in its place, or one with other arguments; and after any difference.
    pub(super) fn take(&self, site: &CallSite, kind: CallKind, arguments: Option<&Value>) -> Result<Taken, AgentError> {
        let mut state = self.state();
        agrees(&state)?;
        let Some(expected) = state.calls.remove(&site.index) else { return Ok(Taken::Absent) };
        state.compared += 1;
        let (recorded, called) = (words(expected.kind, &expected.name), words(kind, &site.name));
        if recorded != called {
            return Err(state.differs(place(site), recorded, called));
        }
        let given = arguments.map(shown).transpose()?;
        match (expected.arguments, given) {
            (Some(then), Some(now)) if then != now => {
                let with = |words: &str, given: &Value| format!("{words} with {}", pretty(given));
                Err(state.differs(place(site), with(&recorded, &then), with(&called, &now)))
            }
            _ => Ok(Taken::Past(expected.past)),
        }
    }

    /// A call, or something else, of which nothing is recorded.
    pub(super) fn not_recorded(&self, place: String, called: String) -> AgentError {
        self.state().differs(place, "nothing is recorded".to_owned(), called)
    }

    pub(super) fn think(&self, text: &str) {
        let mut state = self.state();
        state.said += 1;
        let place = format!("thought {}", state.said);
        match state.thoughts.pop_front() {
            Some(then) if then == text => {}
            _ if self.was_stopped() && state.calls.is_empty() && state.thoughts.is_empty() => {}
            then => state.says_otherwise(place, then, text.to_owned()),
        }
    }

    pub(super) fn emit(&self, name: &str, data: &Value) {
        let Ok(data) = shown(data) else { return };
        let mut state = self.state();
        state.said += 1;
        let place = format!("event {}", state.said);
        let words = |name: &str, data: &Value| format!("\"{name}\" with {}", pretty(data));
        match state.customs.pop_front() {
            Some((then, what)) if then == name && what == data => {}
            _ if self.was_stopped() && state.calls.is_empty() && state.customs.is_empty() => {}
            then => state.says_otherwise(place, then.map(|(then, what)| words(&then, &what)), words(name, &data)),
        }
    }

    /// Compares how it ended; `None` where it was stopped then.
    pub(super) fn compare_end(&self, end: Option<&End>) {
        let mut state = self.state();
        let thought = state.thoughts.pop_front();
        let custom = state.customs.pop_front().map(|(name, _)| format!("\"{name}\""));
        if let Some(missing) = thought.or(custom) {
            state.says_otherwise("what the agent says".to_owned(), Some(missing), "nothing more".to_owned());
        }
        if let Some((index, call)) = state.calls.pop_first() {
            let place = format!("call {index}");
            let _ = state.differs(place, words(call.kind, &call.name), "no such call".to_owned());
        }
        let Some(end) = end else { return };
        // Nobody knows how an agent would have ended that was cancelled.
        let unknown = matches!(self.end, End::Cancelled(_)) || (self.was_stopped() && !is_own(&self.end));
        if (unknown && state.first.is_none()) || self.is_same(end) {
            return;
        }
        state.ended_otherwise = true;
        let _ = state.differs("the end".to_owned(), in_words(&self.end), in_words(end));
    }

    fn is_same(&self, end: &End) -> bool {
        match (&self.end, end) {
            (End::Completed(then), End::Completed(now)) if self.is_shown => {
                redact::secrets(then).as_ref() == redact::secrets(now).as_ref()
            }
            (then, now) => then == now,
        }
    }

    pub(super) fn report(&self, run: &ArchivedRun, version: &str, part: Part) -> Replay {
        let state = self.state();
        Replay {
            run_id: run.run.clone(),
            agent: run.agent.to_string(),
            recorded_version: self.version.clone(),
            version: version.to_owned(),
            part,
            calls: state.compared,
            said: state.said,
            same_events: !state.said_otherwise,
            same_end: !state.ended_otherwise,
            difference: state.first.clone(),
        }
    }
}

impl State {
    /// Takes note of a difference, if it is the first. The agent is told of that one from then on.
    fn differs(&mut self, place: String, recorded: String, replayed: String) -> AgentError {
        let first = self.first.get_or_insert(Difference { place, recorded, replayed });
        AgentError::Diverged { recorded: first.recorded.clone(), called: first.replayed.clone() }
    }

    fn says_otherwise(&mut self, place: String, then: Option<String>, now: String) {
        self.said_otherwise = true;
        let _ = self.differs(place, then.unwrap_or_else(|| "nothing is recorded".to_owned()), now);
    }
}

fn agrees(state: &State) -> Result<(), AgentError> {
    match &state.first {
        // What the agent says otherwise does not keep it from going on.
        Some(first) if !state.said_otherwise => {
            Err(AgentError::Diverged { recorded: first.recorded.clone(), called: first.replayed.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether a failure may be the agent's own, and not one that came from outside.
fn is_own(end: &End) -> bool {
    matches!(end, End::Failed(Failure { reason: FailReason::Timeout, .. }))
}

pub(super) fn place(site: &CallSite) -> String {
    format!("call {}", site.index)
}

fn in_words(end: &End) -> String {
    match end {
        End::Completed(result) => format!("completed with {}", pretty(&redact::secrets(result))),
        End::Failed(failure) => format!("failed ({}): {}", failure.reason.as_str(), failure.message),
        End::Cancelled(reason) => format!("cancelled: {reason}"),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A value as an event would show it: without secrets, and by reference where it is large.
fn shown(value: &Value) -> Result<Value, AgentError> {
    let failed = |error: Error| AgentError::failed(error.to_string());
    visible(&events::show("the value", value).map_err(failed)?.shown).map_err(failed)
}

fn visible(raw: &RawJson) -> Result<Value, Error> {
    serde_json::from_str(raw.get()).map_err(|e| Error::Json { what: "the record", problem: e.to_string() })
}

fn parse<T: DeserializeOwned>(entry: &JournalEntry) -> Result<T, Error> {
    serde_json::from_str(entry.data.get()).map_err(|e| Error::Json { what: "the record", problem: e.to_string() })
}

/// How the run ended, with the whole result where it is recorded.
fn recorded_end(archive: &Archive, entries: &[JournalEntry]) -> Result<End, Error> {
    let whole = entries.last().and_then(|last| last.journal.as_ref());
    Ok(match archive.root().end()? {
        RunChange::Completed { result } => End::Completed(match whole {
            Some(whole) => visible(whole)?,
            None => archive.whole(&result)?,
        }),
        RunChange::Failed(failure) => End::Failed(failure),
        RunChange::Cancelled(reason) => End::Cancelled(reason),
        _ => return Err(Error::Json { what: "the record", problem: "the run has not ended".to_owned() }),
    })
}
