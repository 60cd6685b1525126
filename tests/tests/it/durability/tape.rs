//! A thread's log as its writers know it, to be written again up to any event: a worker that was lost right after it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::future::join_all;
use insula_context::{Clock, RunId, SystemClock, ThreadId, UserScope};
use insula_infra::{
    Append, Backend, Event, EventType, JournalEntry, Lease, NewEvent, NewRun, Payload, RawJson, RunChange, RunHeader,
    RunRecord, RunStatus, WorkerId,
};
use serde_json::{Value, json};

use crate::support::{Island, log::events_of_thread};

/// How long a lost worker's lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A recorded log.
pub(super) struct Tape {
    events: Vec<(Event, JournalEntry)>,
    runs: BTreeMap<RunId, RunRecord>,
    payloads: Vec<Payload>,
}

pub(super) fn raw(value: &Value) -> RawJson {
    RawJson::from(serde_json::value::to_raw_value(value).unwrap())
}

impl Tape {
    /// Reads a thread all of whose runs have ended, with what only the engine sees.
    pub(super) async fn of(backend: &Backend, scope: &UserScope, thread: &ThreadId) -> Self {
        let (_, events) = events_of_thread(backend, scope, thread).await;
        let (mut runs, mut journals) = (BTreeMap::new(), BTreeMap::new());
        for run in events.iter().map(|event| &event.header.run).collect::<BTreeSet<_>>() {
            let record = backend.runs.run(scope, run).await.unwrap().unwrap();
            let lease = Lease { header: Arc::clone(&record.header), worker: WorkerId::new("reader"), token: 1 };
            journals.insert(run.clone(), VecDeque::from(backend.queue.journal(&lease).await.unwrap()));
            runs.insert(run.clone(), record);
        }
        let mut next = |event: &Event| journals.get_mut(&event.header.run).unwrap().pop_front().unwrap();
        let events: Vec<_> = events.iter().map(|event| (event.clone(), next(event))).collect();
        let payloads = payloads(backend, scope, &events).await;
        Self { events, runs, payloads }
    }

    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// Its first events, as readers see them.
    pub(super) fn first(&self, events: usize) -> Vec<Event> {
        self.events[..events].iter().map(|(event, _)| event.clone()).collect()
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &RunId> {
        self.runs.keys()
    }

    /// Writes the first `events` events for another user, as a worker whose lease ends [`LEASE`] from now, and `more`
    /// events of the first run. Without any event the run exists and nothing is said of it.
    pub(super) async fn write(&self, backend: &Backend, scope: &UserScope, events: usize, more: Vec<NewEvent>) {
        let root = &self.events[0].0.header.run;
        let mut said = BTreeMap::<RunId, u64>::new();
        let mut appends = Vec::new();
        for (event, entry) in &self.events[..events] {
            let run = &self.runs[&event.header.run];
            let said = said.entry(event.header.run.clone()).or_default();
            let again =
                NewEvent { kind: event.kind, at: event.at, data: entry.data.clone(), journal: entry.journal.clone() };
            appends.push(self.append(scope, run, *said, vec![again], change(event.kind, run)));
            *said += 1;
        }
        if events == 0 || !more.is_empty() {
            let said = said.get(root).copied().unwrap_or_default();
            appends.push(self.append(scope, &self.runs[root], said, more, None));
        }
        let commits: Vec<_> = appends.into_iter().map(|append| backend.queue.append(append)).collect();
        for committed in join_all(commits).await {
            committed.unwrap();
        }
    }

    fn append(
        &self,
        scope: &UserScope,
        run: &RunRecord,
        after: u64,
        events: Vec<NewEvent>,
        change: Option<RunChange>,
    ) -> Append {
        let header = Arc::new(RunHeader { scope: scope.clone(), ..(*run.header).clone() });
        let is_large = events.iter().any(|event| event.data.get().contains("$payload"));
        let payloads = if is_large { self.payloads.clone() } else { Vec::new() };
        let now = SystemClock::new().now();
        let deadline = Some(now.plus(Duration::from_secs(600)));
        let new = NewRun::new(Arc::clone(&header), Arc::clone(&run.version), Arc::clone(&run.input), now);
        Append {
            create: (after == 0).then_some((NewRun { deadline, ..new }, LEASE)),
            events,
            change,
            payloads,
            ..Append::new(Lease { header, worker: WorkerId::new("lost"), token: 1 }, after)
        }
    }
}

/// What the engine says first of a run that it has taken over.
pub(super) fn resumed() -> NewEvent {
    let at = SystemClock::new().now();
    NewEvent { kind: EventType::AgentResumed, at, data: raw(&json!({"why": "worker lost"})), journal: None }
}

fn change(kind: EventType, run: &RunRecord) -> Option<RunChange> {
    if !kind.is_terminal() {
        return None;
    }
    Some(match run.status {
        RunStatus::Completed => RunChange::Completed { result: run.result.clone().unwrap() },
        RunStatus::Failed => RunChange::Failed(run.failure.clone().unwrap()),
        _ => RunChange::Cancelled(run.cancel.clone().unwrap()),
    })
}

async fn payloads(backend: &Backend, scope: &UserScope, events: &[(Event, JournalEntry)]) -> Vec<Payload> {
    let mut payloads = Vec::new();
    for (event, _) in events {
        let data: Value = event.data().unwrap();
        let Some(hash) = data["result"]["$payload"].as_str() else { continue };
        let bytes = backend.log.payload(scope, &hash.parse().unwrap()).await.unwrap().unwrap();
        payloads.push(Payload::new(bytes.to_vec()));
    }
    assert!(!payloads.is_empty() || events.len() < 20, "the story has a large value");
    payloads
}

/// A run that was lost after these events, whose lease is over. An event is its kind, its data and the engine's part.
pub(super) async fn lost(island: &Island, header: RunHeader, version: &str, events: &[(EventType, Value, Value)]) {
    let now = SystemClock::new().now();
    let header = Arc::new(header);
    let deadline = Some(now.plus(Duration::from_secs(86_400)));
    let new = NewRun { deadline, ..NewRun::new(Arc::clone(&header), Arc::from(version), raw(&json!(1)), now) };
    let event = |(kind, data, journal): &(EventType, Value, Value)| {
        let journal = (!journal.is_null()).then(|| raw(journal));
        NewEvent { kind: *kind, at: now, data: raw(data), journal }
    };
    let append = Append {
        create: Some((new, Duration::ZERO)),
        events: events.iter().map(event).collect(),
        ..Append::new(Lease { header, worker: WorkerId::new("lost"), token: 1 }, 0)
    };
    island.ports().queue.append(append).await.unwrap();
}

/// Who a run of a class in a thread of its own is.
pub(super) fn header(scope: &UserScope, agent: &str) -> RunHeader {
    let context = crate::support::context(scope);
    let (thread, run) = (context.thread().clone(), context.run().clone());
    RunHeader { scope: scope.clone(), thread, run, parent: None, agent: Arc::from(agent) }
}

/// That the agent was started.
pub(super) fn started() -> (EventType, Value, Value) {
    (EventType::AgentStarted, json!({"class": "any", "version": "1", "input": 1, "marker": "0"}), Value::Null)
}

/// Works on what was lost and waits for the end of a run.
pub(super) async fn resumed_to_its_end(island: &Island, scope: &UserScope, run: &RunId) -> RunRecord {
    island.factory().work();
    let waiting = island.factory().wait(scope, run);
    // Longer than the longest pause of these stories.
    tokio::time::timeout(Duration::from_secs(100), waiting).await.expect("it ends").unwrap().unwrap()
}
