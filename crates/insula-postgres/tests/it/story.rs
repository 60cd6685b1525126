//! Scopes, runs and appends, as a process makes them; and the database as its administrator sees it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Append, Backend, EventType, Lease, NewEvent, NewQuestion, NewRun, RawJson, RunChange, RunHeader, WaitFor, WorkerId,
};
use insula_test_services::Postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support;

/// A database and a process on it.
pub(crate) async fn one() -> (Postgres, Backend) {
    let database = support::database().await;
    let backend = support::at(&database).connect().await.expect("connects").into_backend();
    (database, backend)
}

/// As the administrator, whom no wall keeps from anything.
pub(crate) async fn administrator(database: &Postgres) -> PgConnection {
    PgConnection::connect(&database.url()).await.expect("connects")
}

/// Changes the database behind the backend's back.
pub(crate) async fn tamper(database: &Postgres, sql: &str) {
    let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut administrator(database).await).await.expect("changes");
    assert_ne!(done.rows_affected(), 0, "{sql}");
}

/// How many rows each table has, but for the workers'.
pub(crate) async fn rows(database: &Postgres) -> BTreeMap<String, i64> {
    const TABLES: &str = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'insula' AND tablename <> 'workers'";
    let mut connection = administrator(database).await;
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut connection).await.expect("lists");
    let mut rows = BTreeMap::new();
    for table in tables {
        let count = format!("SELECT count(*) FROM insula.{table}");
        let count = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut connection).await.expect("counts");
        rows.insert(table, count);
    }
    rows
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

pub(crate) fn lease(header: &Arc<RunHeader>) -> Lease {
    Lease { header: Arc::clone(header), worker: WorkerId::new("w"), token: 1 }
}

/// Creates a run under the first token, with its first events.
pub(crate) fn create(header: &Arc<RunHeader>, events: Vec<NewEvent>) -> Append {
    let create = Some((new_run(header), Duration::from_secs(30)));
    Append { create, ..extend(header, 0, events) }
}

/// Adds events under the first token.
pub(crate) fn extend(header: &Arc<RunHeader>, after: u64, events: Vec<NewEvent>) -> Append {
    Append { events, ..Append::new(lease(header), after) }
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
