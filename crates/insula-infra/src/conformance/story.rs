//! Runs to try rules on: made, written to and ended in a line each.

use std::{sync::Arc, time::Duration};

use insula_context::{CancelReason, RunId, Timestamp, UserScope};
use serde_json::{json, value::to_raw_value};

use super::{Subject, subject::thread};
use crate::{
    Answer, AnswerRequest, Append, Claimed, Commit, Committed, Error, Event, EventType, Lease, NewEvent, NewQuestion,
    NewRun, Payload, RawJson, RunChange, RunHeader, RunRecord, RunStatus, Submitted, ThreadPolicy, WaitFor, WorkerId,
};

/// How long leases last in the rules, in seconds.
pub(super) const LEASE: u64 = 30;

pub(super) fn run(name: &str) -> RunId {
    RunId::new(name).expect("a valid run id")
}

pub(super) fn raw(value: &serde_json::Value) -> RawJson {
    to_raw_value(value).expect("a value is JSON").into()
}

pub(super) fn worker(name: &str) -> WorkerId {
    WorkerId::new(name)
}

pub(super) fn stop(why: &str) -> CancelReason {
    CancelReason::new("user", why)
}

/// The change that ends a run well.
pub(super) fn completed() -> Option<RunChange> {
    Some(RunChange::Completed { result: raw(&json!("done")) })
}

pub(super) fn parked(until: Option<Timestamp>) -> Option<RunChange> {
    Some(RunChange::Waiting { reason: WaitFor::Timer, until, children: Vec::new() })
}

/// The names of the runs, in order.
pub(super) fn names(claimed: &[Claimed]) -> Vec<&str> {
    claimed.iter().map(|claimed| claimed.lease.header.run.as_str()).collect()
}

/// The `n`s that [`Writer::say`] wrote, in the order of the log.
pub(super) fn said(events: &[Event]) -> Vec<u64> {
    let numbers = events.iter().filter(|event| event.kind == EventType::AgentThinking);
    numbers.map(|event| event.data::<u64>().expect("a number")).collect()
}

pub(super) fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

impl Subject {
    pub(super) fn header(&self, scope: &UserScope, in_thread: &str, id: &str) -> Arc<RunHeader> {
        let (scope, agent) = (scope.clone(), Arc::from("echo"));
        Arc::new(RunHeader { scope, thread: thread(in_thread), run: run(id), parent: None, agent })
    }

    pub(super) fn new_run(&self, header: Arc<RunHeader>) -> NewRun {
        NewRun::new(header, Arc::from("1.0.0"), raw(&json!({"question": 1})), self.now())
    }

    pub(super) fn event(&self, kind: EventType, data: &serde_json::Value) -> NewEvent {
        NewEvent { kind, at: self.now(), data: raw(data), journal: None }
    }

    /// A writer that has not written anything.
    pub(super) fn writer(&self, lease: Lease, after: u64) -> Writer {
        Writer { subject: self.clone(), lease, after }
    }

    /// The write that creates a run.
    pub(super) fn creation(&self, scope: &UserScope, in_thread: &str, id: &str) -> Append {
        let header = self.header(scope, in_thread, id);
        let create = Some((self.new_run(Arc::clone(&header)), Duration::from_secs(LEASE)));
        let events = vec![self.event(EventType::AgentStarted, &json!({}))];
        let lease = Lease { header, worker: worker("creator"), token: 1 };
        Append { create, events, ..Append::new(lease, 0) }
    }

    /// Creates a run that is running, with its first event.
    pub(super) async fn start(&self, scope: &UserScope, in_thread: &str, id: &str) -> Writer {
        let append = self.creation(scope, in_thread, id);
        let lease = append.lease.clone();
        self.backend.queue.append(append).await.expect("a run is created");
        self.writer(lease, 1)
    }

    /// Puts a run into the queue.
    pub(super) async fn submit(&self, scope: &UserScope, in_thread: &str, id: &str) {
        let run = self.new_run(self.header(scope, in_thread, id));
        let answer = self.backend.queue.submit(run, None).await.expect("a run is submitted");
        assert!(matches!(answer, Submitted::New), "a submission without a key is new");
    }

    /// A run that waits for its turn in its thread, or whatever else its policy says.
    pub(super) fn in_turn(&self, scope: &UserScope, in_thread: &str, id: &str, policy: ThreadPolicy) -> NewRun {
        NewRun { policy: Some(policy), ..self.new_run(self.header(scope, in_thread, id)) }
    }

    /// Puts a run into the queue that waits for its turn in its thread.
    pub(super) async fn line_up(&self, scope: &UserScope, in_thread: &str, id: &str) {
        let run = self.in_turn(scope, in_thread, id, ThreadPolicy::Enqueue);
        let answer = self.backend.queue.submit(run, None).await.expect("a run is submitted");
        assert!(matches!(answer, Submitted::New), "a submission without a key is new");
    }

    /// Creates a run that another one has started.
    pub(super) async fn start_child(&self, scope: &UserScope, in_thread: &str, id: &str, parent: &str) -> Writer {
        let mut append = self.creation(scope, in_thread, id);
        append.lease.header = Arc::new(RunHeader { parent: Some(run(parent)), ..(*append.lease.header).clone() });
        append.create.as_mut().expect("a creation").0.header = Arc::clone(&append.lease.header);
        let lease = append.lease.clone();
        self.backend.queue.append(append).await.expect("a child is created");
        self.writer(lease, 1)
    }

    /// Claims from owners of whom fewer than `per_owner` submitted runs are held.
    pub(super) async fn claim_under(&self, by: &str, max: usize, per_owner: usize) -> Vec<Claimed> {
        let lease = Duration::from_secs(LEASE);
        self.backend.queue.claim(&worker(by), lease, max, per_owner).await.expect("a claim is answered")
    }

    /// Claims, and makes a writer of each run.
    pub(super) async fn claim_writers(&self, by: &str, max: usize) -> Vec<Writer> {
        let claimed = self.claim(by, max).await;
        claimed.into_iter().map(|claimed| self.writer(claimed.lease, claimed.run.events)).collect()
    }

    /// Answers a question.
    pub(super) async fn answer(&self, scope: &UserScope, id: &str, index: u32, text: &str) -> Option<AnswerRequest> {
        let answer = Answer { index, answer: raw(&json!(text)), by: Arc::from("somebody") };
        self.backend.inbox.answer(scope, &run(id), answer).await.expect("the inbox answers")
    }

    pub(super) async fn claim(&self, by: &str, max: usize) -> Vec<Claimed> {
        let lease = Duration::from_secs(LEASE);
        self.backend.queue.claim(&worker(by), lease, max, usize::MAX).await.expect("a claim is answered")
    }

    /// The names of the runs that a claim gives out, in order.
    pub(super) async fn claim_names(&self, by: &str, max: usize) -> Vec<String> {
        self.claim(by, max).await.iter().map(|claimed| claimed.lease.header.run.to_string()).collect()
    }

    /// Claims the only run that there is to claim.
    pub(super) async fn claim_one(&self, by: &str) -> (Writer, Claimed) {
        let mut claimed = self.claim(by, 2).await;
        assert_eq!(claimed.len(), 1, "exactly one run is to be claimed");
        let claimed = claimed.remove(0);
        (self.writer(claimed.lease.clone(), claimed.run.events), claimed)
    }

    pub(super) async fn record(&self, scope: &UserScope, id: &str) -> RunRecord {
        self.backend.runs.run(scope, &run(id)).await.expect("the store answers").expect("the run is there")
    }

    pub(super) async fn status(&self, scope: &UserScope, id: &str) -> RunStatus {
        self.record(scope, id).await.status
    }

    /// All events of a thread.
    pub(super) async fn events(&self, scope: &UserScope, in_thread: &str) -> Vec<Event> {
        let page = self.backend.log.thread_events(scope, &thread(in_thread), 0, 1_000_000).await;
        page.expect("the log answers").map(|page| page.events).unwrap_or_default()
    }
}

/// Somebody who holds, or believes to hold, the lease of a run.
#[derive(Clone)]
pub(super) struct Writer {
    subject: Subject,
    pub(super) lease: Lease,
    pub(super) after: u64,
}

impl Writer {
    pub(super) fn append(&self, events: Vec<NewEvent>, change: Option<RunChange>) -> Append {
        let lease = self.lease.clone();
        Append { events, change, ..Append::new(lease, self.after) }
    }

    pub(super) fn send(&self, append: Append) -> Commit {
        self.subject.backend.queue.append(append)
    }

    /// Writes, and counts what was written.
    pub(super) async fn write(&mut self, events: Vec<NewEvent>, change: Option<RunChange>) -> Result<Committed, Error> {
        let written = events.len() as u64;
        let committed = self.send(self.append(events, change)).await?;
        self.after += written;
        Ok(committed)
    }

    fn number(&self, n: u64) -> NewEvent {
        self.subject.event(EventType::AgentThinking, &json!(n))
    }

    /// One event per number, in one write.
    pub(super) async fn try_say(&mut self, numbers: &[u64]) -> Result<Committed, Error> {
        let events = numbers.iter().map(|n| self.number(*n)).collect();
        self.write(events, None).await
    }

    pub(super) async fn say(&mut self, numbers: &[u64]) -> Committed {
        self.try_say(numbers).await.expect("events are written")
    }

    /// Ends the run well.
    pub(super) async fn end(&mut self) {
        let last = self.subject.event(EventType::AgentCompleted, &json!("done"));
        self.write(vec![last], completed()).await.expect("the run ends");
    }

    /// Ends the run as stopped.
    pub(super) async fn obey(&mut self, reason: CancelReason) {
        let last = self.subject.event(EventType::AgentCancelled, &json!(reason));
        self.write(vec![last], Some(RunChange::Cancelled(reason))).await.expect("the run ends");
    }

    pub(super) async fn park(&mut self, until: Option<Timestamp>) {
        let event = self.subject.event(EventType::AgentWaiting, &json!({}));
        self.write(vec![event], parked(until)).await.expect("the run is parked");
    }

    /// Parks until one of the children has ended.
    pub(super) async fn park_for(&mut self, children: &[&str], until: Option<Timestamp>) {
        let event = self.subject.event(EventType::AgentWaiting, &json!({}));
        let children = children.iter().map(|child| run(child)).collect();
        let change = RunChange::Waiting { reason: WaitFor::Child, until, children };
        self.write(vec![event], Some(change)).await.expect("the run is parked");
    }

    /// Asks a question, and parks or goes on.
    pub(super) async fn ask(&mut self, index: u32, expires_at: Option<Timestamp>, change: Option<RunChange>) {
        let (question, asked_at) = (raw(&json!({"text": index})), self.subject.now());
        let asks = vec![NewQuestion { index, kind: WaitFor::Human, question, asked_at, expires_at }];
        let event = self.subject.event(EventType::AgentWaiting, &json!({}));
        let append = Append { asks, ..self.append(vec![event], change) };
        self.send(append).await.expect("a question is asked");
        self.after += 1;
    }

    /// Closes a question.
    pub(super) async fn close(&mut self, index: u32) {
        let event = self.subject.event(EventType::StepCompleted, &json!({}));
        let append = Append { closes: vec![index], ..self.append(vec![event], None) };
        self.send(append).await.expect("a question is closed");
        self.after += 1;
    }

    /// Goes on after a pause.
    pub(super) async fn go_on(&mut self) {
        self.write(Vec::new(), Some(RunChange::Running)).await.expect("the run goes on");
    }

    /// Attaches a payload.
    pub(super) async fn attach(&mut self, payload: Payload) {
        let event = self.subject.event(EventType::StepCompleted, &json!({"payload": payload.hash()}));
        let append = Append { payloads: vec![payload], ..self.append(vec![event], None) };
        self.send(append).await.expect("a payload is kept");
        self.after += 1;
    }

    pub(super) async fn journal(&self) -> Result<Vec<crate::JournalEntry>, Error> {
        self.subject.backend.queue.journal(&self.lease).await
    }
}
