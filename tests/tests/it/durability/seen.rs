//! What a story comes to, as its owner and the world see it, and whether two of them are the same.

use std::collections::{BTreeMap, BTreeSet};

use insula_context::RunId;
use insula_infra::{Backend, Event, EventType, RunStatus};
use serde_json::{Value, json};

use super::book::{Book, Note};
use crate::support::{
    events_of_run,
    log::{faults_of_user, runs_of},
    user,
};

/// One event without what no two runs have in common.
type Said = (EventType, Value);

/// What became of one run.
#[derive(Debug, Clone, PartialEq)]
struct Ended {
    status: RunStatus,
    end: Value,
    log: Vec<Said>,
}

/// The end of a story.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    runs: BTreeMap<RunId, Ended>,
    notes: Vec<Note>,
    /// What is wrong with the logs by themselves.
    faults: Vec<String>,
}

/// Done as often as the agent asks for it, whatever happens.
const ONCE: [&str; 4] = ["pay", "sign", "reserve", "post"];

impl Seen {
    pub(super) async fn of(backend: &Backend, book: &Book) -> Self {
        let ada = user("ada");
        let mut runs = BTreeMap::new();
        for record in runs_of(backend, &ada).await {
            let log = events_of_run(backend, &ada, &record.header.run).await;
            runs.insert(record.header.run.clone(), ended(record.status, &log));
        }
        let faults = faults_of_user(backend, &ada).await;
        Self { runs, notes: book.notes(), faults }
    }

    /// Whether every log is as a log must be.
    pub(super) fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }

    /// What is different after a crash and must not be.
    pub(super) fn differences(&self, crashed: &Self) -> Vec<String> {
        let mut found = self.of_logs(crashed);
        found.extend(self.of_notes(crashed));
        found.extend(crashed.faults.clone());
        found
    }

    fn of_logs(&self, crashed: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let all: BTreeSet<&RunId> = self.runs.keys().chain(crashed.runs.keys()).collect();
        for run in all {
            match (self.runs.get(run), crashed.runs.get(run)) {
                (Some(before), Some(after)) => found.extend(difference(run, before, after)),
                (before, after) => {
                    let (before, after) = (before.is_some(), after.is_some());
                    found.push(format!("{run} was there {before}, is there {after}"));
                }
            }
        }
        found
    }

    fn done_once(&self) -> Vec<&Note> {
        let mut notes: Vec<_> = self.notes.iter().filter(|(what, _)| ONCE.contains(&&**what)).collect();
        notes.sort();
        notes
    }

    fn of_notes(&self, crashed: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let (before, after) = (self.done_once(), crashed.done_once());
        if before != after {
            found.push(format!("what is done once was done {after:?} instead of {before:?}"));
        }
        // What may be repeated is repeated under the same key; what is undone, in the same order.
        for what in ["read", "book", "hang", "think", "undo"] {
            let (before, after) = (first_times(&self.notes, what), first_times(&crashed.notes, what));
            if before != after {
                found.push(format!("{what} was done under {after:?} instead of {before:?}"));
            }
        }
        found
    }
}

fn difference(run: &RunId, before: &Ended, after: &Ended) -> Option<String> {
    if before.log != after.log {
        let same = before.log.iter().zip(&after.log).take_while(|(before, after)| before == after).count();
        let (is, was) = (after.log.get(same), before.log.get(same));
        let kinds: Vec<_> = after.log.iter().map(|(kind, _)| kind.as_str()).collect();
        return Some(format!("{run} says as event {same} {is:?} instead of {was:?}; {kinds:?}"));
    }
    let same = (before.status, &before.end) == (after.status, &after.end);
    (!same)
        .then(|| format!("{run} ended {:?} {} instead of {:?} {}", after.status, after.end, before.status, before.end))
}

/// The keys under which something was done, in the order of their first times.
fn first_times<'a>(notes: &'a [Note], what: &str) -> Vec<&'a str> {
    let mut keys = Vec::new();
    for (done, key) in notes {
        if done == what && !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    keys
}

fn ended(status: RunStatus, events: &[Event]) -> Ended {
    let mut log: Vec<Said> = events.iter().filter(|event| !is_of_the_crash(event)).map(said).collect();
    in_order_of_calls(&mut log);
    let recorded = |name: &str| {
        let step = events.iter().find(|e| e.kind == EventType::StepCompleted && data(e)["name"] == name);
        step.map_or(Value::Null, |step| data(step)["result"].clone())
    };
    let mut end = events.last().map_or(Value::Null, |last| data(last)["result"].clone());
    for (field, name) in [("seed", "random"), ("at", "now")] {
        if end.get(field).is_some_and(|value| *value == recorded(name)) {
            end[field] = json!("as recorded");
        }
    }
    Ended { status, end, log }
}

fn data(event: &Event) -> Value {
    event.data().unwrap()
}

/// That it goes on, that somebody is asked what became of a call, and that a run is parked because its child is.
fn is_of_the_crash(event: &Event) -> bool {
    let waits_for = |what: &str| event.kind == EventType::AgentWaiting && data(event)["waiting_for"] == what;
    event.kind == EventType::AgentResumed || waits_for("reconcile") || waits_for("child")
}

fn said(event: &Event) -> Said {
    let (kind, mut data) = (event.kind, data(event));
    let fields = data.as_object_mut().unwrap();
    for field in ["duration_ms", "marker", "until"] {
        fields.remove(field);
    }
    for spent in ["/spent", "/usage/spent"] {
        // Time is spent as it goes.
        data.pointer_mut(spent).and_then(Value::as_object_mut).map(|spent| spent.remove("millis"));
    }
    let fields = data.as_object_mut().unwrap();
    if kind == EventType::AgentCompleted {
        // Held against the agent's own result elsewhere.
        fields.remove("result");
        fields["usage"].as_object_mut().unwrap().remove("events");
    }
    if ["random", "now"].iter().any(|name| fields.get("name") == Some(&json!(name))) {
        fields.remove("result");
    }
    (kind, data)
}

/// Calls that are made side by side may begin and end in any order.
fn in_order_of_calls(log: &mut [Said]) {
    let place = |(_, data): &Said| {
        let id = data["call_id"].as_str().and_then(|id| id.strip_prefix('c')?.parse().ok());
        id.or_else(|| data["index"].as_u64())
    };
    let is_beside = log.iter().filter(|(kind, _)| *kind == EventType::AgentWaiting).count() == 3;
    if is_beside && log.len() > 2 {
        let last = log.len() - 1;
        log[1..last].sort_by_key(|said| (place(said), said.0 == EventType::StepCompleted));
    }
}
