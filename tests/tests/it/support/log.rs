//! Whole logs, and what must hold for each of them whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use insula_context::{RunId, ThreadId, UserScope};
use insula_infra::{Backend, Event, EventType, PageRequest, RunFilter, RunRecord, RunStatus};
use serde_json::Value;

/// The kinds of some events as words, in order.
pub(crate) fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

/// Everything that these events say, as one text in the form of the wire.
pub(crate) fn words(events: &[Event]) -> String {
    serde_json::to_string(events).unwrap()
}

/// Every event of one run that its owner can read.
pub(crate) async fn events_of_run(backend: &Backend, scope: &UserScope, run: &RunId) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let page = backend.log.run_events(scope, run, after, 500).await.unwrap().unwrap_or_default();
        if page.events.is_empty() {
            return events;
        }
        events.extend(page.events);
    }
}

/// Every event of one thread that its owner can read, and the `seq` of the oldest that is kept.
pub(crate) async fn events_of_thread(backend: &Backend, scope: &UserScope, thread: &ThreadId) -> (u64, Vec<Event>) {
    let (mut events, mut after, mut oldest) = (Vec::<Event>::new(), 0, 1);
    loop {
        let page = backend.log.thread_events(scope, thread, after, 500).await.unwrap().unwrap_or_default();
        if page.events.is_empty() {
            return (oldest, events);
        }
        if events.is_empty() {
            oldest = page.oldest;
        }
        events.extend(page.events);
        after = events.last().map_or(0, |event| event.seq);
    }
}

/// Every run of a user.
pub(crate) async fn runs_of(backend: &Backend, scope: &UserScope) -> Vec<RunRecord> {
    let (mut runs, mut page) = (Vec::new(), PageRequest { cursor: None, limit: 500 });
    loop {
        let found = backend.runs.runs(scope, &RunFilter::default(), &page).await.unwrap();
        runs.extend(found.items);
        match found.next {
            Some(next) => page.cursor = Some(next),
            None => return runs,
        }
    }
}

/// Panics when anything in this user's logs is not as it must be.
pub(crate) async fn hold_against_the_invariants(backend: &Backend, scope: &UserScope) {
    let faults = faults_of_user(backend, scope).await;
    assert!(faults.is_empty(), "the log of {scope} is not as a log must be:\n{}", faults.join("\n"));
}

/// What is wrong with this user's logs.
pub(crate) async fn faults_of_user(backend: &Backend, scope: &UserScope) -> Vec<String> {
    // The records first: what they say has ended must have its end in a log that is read later.
    let records = runs_of(backend, scope).await;
    let threads: BTreeSet<&ThreadId> = records.iter().map(|record| &record.header.thread).collect();
    let page = PageRequest { cursor: None, limit: 500 };
    let forks = backend.runs.threads(scope, &page).await.unwrap().items.into_iter();
    let forks: BTreeMap<ThreadId, u64> =
        forks.filter_map(|thread| Some((thread.thread_id, thread.forked_from?.seq))).collect();
    let mut runs = BTreeMap::<RunId, Vec<Event>>::new();
    let mut faults = Vec::new();
    for thread in threads {
        let (oldest, events) = events_of_thread(backend, scope, thread).await;
        // What a fork begins with is another thread's, and is looked at there.
        let (begun_with, own): (Vec<Event>, Vec<Event>) =
            events.into_iter().partition(|event| forks.get(thread).is_some_and(|seq| event.seq <= *seq));
        let oldest = if begun_with.is_empty() { oldest } else { begun_with.len() as u64 + oldest };
        faults.extend(faults_of_thread(scope, thread, oldest, &own));
        for event in own {
            runs.entry(event.header.run.clone()).or_default().push(event);
        }
    }
    for record in &records {
        let events = runs.get(&record.header.run).map_or(&[][..], Vec::as_slice);
        faults.extend(faults_of_run(record, events));
    }
    faults
}

/// What is wrong with the log of one thread.
pub(crate) fn faults_of_thread(scope: &UserScope, thread: &ThreadId, oldest: u64, events: &[Event]) -> Vec<String> {
    let mut faults = Vec::new();
    for (expected, event) in (oldest..).zip(events) {
        if event.seq != expected {
            faults.push(format!("{thread}: seq {} where {expected} was due", event.seq));
            break;
        }
    }
    for event in events {
        if event.header.scope != *scope || event.header.thread != *thread {
            faults.push(format!("{thread}: seq {} belongs to {:?}", event.seq, event.header));
        }
    }
    faults
}

/// What is wrong with the log of one run.
pub(crate) fn faults_of_run(record: &RunRecord, events: &[Event]) -> Vec<String> {
    let mut faults = faults_of_envelopes(record, events);
    faults.extend(fault_of_the_start(events));
    faults.extend(fault_of_the_end(record.status, events));
    faults.extend(faults_of_calls(events));
    let run = &record.header.run;
    faults.into_iter().map(|fault| format!("{run}: {fault}; its log is {:?}", kinds(events))).collect()
}

fn faults_of_envelopes(record: &RunRecord, events: &[Event]) -> Vec<String> {
    let mut faults = Vec::new();
    for event in events.iter().filter(|event| event.header != record.header) {
        faults.push(format!("seq {} says {:?} instead of {:?}", event.seq, event.header, record.header));
    }
    for pair in events.windows(2).filter(|pair| pair[1].at < pair[0].at) {
        faults.push(format!("seq {} was written before seq {}", pair[1].seq, pair[0].seq));
    }
    faults
}

/// `agent_started` once, and only a queue notice before it.
fn fault_of_the_start(events: &[Event]) -> Option<String> {
    let is_start = |event: &&Event| event.kind == EventType::AgentStarted;
    let started = events.iter().filter(is_start).count();
    let first = events.iter().find(|event| event.kind != EventType::AgentQueued)?;
    match started {
        0 if first.kind == EventType::AgentCompleted => Some("it completed and never started".to_owned()),
        0 if first.kind.is_terminal() => None,
        1 if is_start(&first) => None,
        0 | 1 => Some(format!("{} comes before agent_started", first.kind)),
        more => Some(format!("{more} times agent_started")),
    }
}

/// One terminal event, last, and the one that the record says.
fn fault_of_the_end(status: RunStatus, events: &[Event]) -> Option<String> {
    let ends: Vec<&Event> = events.iter().filter(|event| event.kind.is_terminal()).collect();
    let expected = match status {
        RunStatus::Completed => EventType::AgentCompleted,
        RunStatus::Failed => EventType::AgentFailed,
        RunStatus::Cancelled => EventType::AgentCancelled,
        // It may have ended between the look at the record and the look at the log.
        _ => return (ends.len() > 1).then(|| format!("{} ends", ends.len())),
    };
    match &ends[..] {
        [end] if end.kind != expected => Some(format!("{status:?} ends with {}", end.kind)),
        [end] if events.last().is_none_or(|last| last.seq != end.seq) => Some("something follows the end".to_owned()),
        [_] => None,
        ends => Some(format!("{} ends", ends.len())),
    }
}

/// Every call opens once and closes once, also one that a crash left open.
fn faults_of_calls(events: &[Event]) -> Vec<String> {
    let (mut open, mut closed, mut faults) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for event in events {
        let call = || event.data::<Value>().unwrap()["call_id"].as_str().map(str::to_owned);
        match event.kind {
            EventType::ToolExecuting => match call() {
                Some(id) if !closed.contains(&id) && open.insert(id.clone()) => {}
                id => faults.push(format!("seq {} opens {id:?} again", event.seq)),
            },
            EventType::ToolCompleted => match call() {
                Some(id) if open.remove(&id) => drop(closed.insert(id)),
                id => faults.push(format!("seq {} closes {id:?}, which is not open", event.seq)),
            },
            kind if kind.is_terminal() && !open.is_empty() => {
                faults.push(format!("{open:?} still open at the end"));
            }
            _ => {}
        }
    }
    faults
}
