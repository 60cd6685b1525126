//! What the tests of this crate share: a file in a folder of its own, scopes, runs and appends.

use std::{sync::Arc, time::Duration};

use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Append, EventType, Lease, NewEvent, NewQuestion, NewRun, RawJson, RunChange, RunHeader, WaitFor, WorkerId,
};
use insula_sqlite::{Options, SqliteBackend};
use tempfile::TempDir;

/// A folder that goes with the test.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// How to open the file of this folder.
pub(crate) fn at(folder: &TempDir) -> Options {
    SqliteBackend::at(folder.path().join("insula.db"))
}

/// A scope; the test plays the authenticator.
pub(crate) fn scope(user: &str) -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
    insula_context::ScopeIssuer::new().issue("acme", user).expect("valid")
}

pub(crate) fn thread(id: &str) -> ThreadId {
    ThreadId::new(id).expect("valid")
}

pub(crate) fn run(id: &str) -> RunId {
    RunId::new(id).expect("valid")
}

pub(crate) fn raw(text: &str) -> RawJson {
    RawJson::from(serde_json::value::RawValue::from_string(text.to_owned()).expect("JSON"))
}

pub(crate) fn header(user: &str, in_thread: &str, id: &str) -> Arc<RunHeader> {
    Arc::new(RunHeader {
        scope: scope(user),
        thread: thread(in_thread),
        run: run(id),
        parent: None,
        agent: "echo".into(),
    })
}

pub(crate) fn new_run(header: &Arc<RunHeader>) -> NewRun {
    NewRun::new(Arc::clone(header), Arc::from("1"), raw("{\"n\":1}"), Timestamp::from_micros(1_000))
}

pub(crate) fn event(kind: EventType, data: &str) -> NewEvent {
    NewEvent { kind, at: Timestamp::from_micros(2_000), data: raw(data), journal: None }
}

/// That many events of an agent's own, numbered from `from`.
pub(crate) fn notes(from: u64, count: u64) -> Vec<NewEvent> {
    (from..from + count).map(|n| event(EventType::Custom, &n.to_string())).collect()
}

/// Creates a run under the first token, with its first events.
pub(crate) fn create(header: &Arc<RunHeader>, events: Vec<NewEvent>) -> Append {
    let create = Some((new_run(header), Duration::from_secs(30)));
    Append { create, ..extend(header, 0, events) }
}

/// Adds events under the first token.
pub(crate) fn extend(header: &Arc<RunHeader>, after: u64, events: Vec<NewEvent>) -> Append {
    let lease = Lease { header: Arc::clone(header), worker: WorkerId::new("w"), token: 1 };
    Append { events, ..Append::new(lease, after) }
}

/// Ends a run under the first token.
pub(crate) fn end(header: &Arc<RunHeader>, after: u64) -> Append {
    let change = Some(RunChange::Completed { result: raw("\"done\"") });
    Append { change, ..extend(header, after, vec![event(EventType::AgentCompleted, "{}")]) }
}

/// A whole run in one append.
pub(crate) fn whole(header: &Arc<RunHeader>) -> Append {
    let started = event(EventType::AgentStarted, "{}");
    let mut append = end(header, 0);
    append.events.insert(0, started);
    Append { create: Some((new_run(header), Duration::from_secs(30))), ..append }
}

/// A question without an end.
pub(crate) fn question(index: u32) -> NewQuestion {
    let (question, asked_at) = (raw("{\"text\":\"sure?\"}"), Timestamp::from_micros(2_000));
    NewQuestion { index, kind: WaitFor::Human, question, asked_at, expires_at: None }
}
