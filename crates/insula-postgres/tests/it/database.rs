//! Agents' own tables.

use std::{sync::Arc, time::Duration};

use insula_context::SqlValue;
use insula_infra::{
    DatabaseSession, Error,
    conformance::{ManualClock, Subject},
};
use sqlx::{PgConnection, Row};

use crate::agents::{NOTE, agents, agents_with, database, is_refused, options, scope};

async fn subject() -> Subject {
    let (clock, postgres) = (Arc::new(ManualClock::new()), database().await);
    let backend = options(&postgres).clock(clock.clone()).connect().await.expect("connects");
    Subject::new(backend.into_backend(), clock).keeping(postgres)
}

insula_infra::conformance!(agents, subject, [database]);

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_sql_is_allowed() {
    let agents = agents().await;
    let mut session = agents.open("ada").await;
    for sql in [
        "CREATE TYPE mood AS ENUM ('calm', 'wild')",
        "CREATE TABLE t (a bigserial PRIMARY KEY, b text CHECK (b <> ';'), m mood)",
        "CREATE INDEX by_b ON t (b)",
        "SAVEPOINT here",
        "INSERT INTO t (b) VALUES ('x') RETURNING a",
        "ROLLBACK TO here",
        "RELEASE here",
        "ALTER TABLE t ADD COLUMN c double precision",
        "CREATE TABLE copies (b text)",
        "CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO copies VALUES (new.b); RETURN new; END $$",
        "CREATE TRIGGER copies AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION copy()",
        "DO $$ BEGIN PERFORM 1; END $$",
        "SHOW search_path",
        "EXPLAIN SELECT * FROM t",
        "CREATE VIEW v AS SELECT a FROM t",
        "COMMENT ON TABLE t IS 'mine; all mine'",
    ] {
        session.execute(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let changed = session.execute("INSERT INTO t (b, m) VALUES ('y', 'calm'), ('z', 'wild')", &[]).await;
    assert_eq!(changed.expect("inserts"), 2);
    assert_eq!(session.execute("CREATE TABLE u AS SELECT * FROM t", &[]).await.expect("creates"), 0);
    assert_eq!(session.execute("SELECT * FROM t", &[]).await.expect("reads"), 0);
    let rows = session.fetch("SELECT b FROM copies WHERE b <> ';' ORDER BY b", &[]).await.expect("finds");
    assert_eq!(rows.len(), 2);
    session.execute("ALTER TABLE copies ADD COLUMN d int", &[]).await.expect("alters");
    assert_eq!(session.fetch("SELECT b FROM copies WHERE b <> ';' ORDER BY b", &[]).await.expect("finds").len(), 2);
    session.commit().await.expect("commits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_becomes_what_its_column_is_and_a_value_what_its_type_is() {
    let agents = agents().await;
    let mut session = agents.open("ada").await;
    session.execute("CREATE TYPE mood AS ENUM ('calm', 'wild')", &[]).await.expect("creates");
    let table =
        "CREATE TABLE t (b bool, s smallint, n numeric, j jsonb, u uuid, t timestamptz, d date, m mood, a int[])";
    session.execute(table, &[]).await.expect("creates");
    let uuid = "018f3f6e-8c1e-7c3a-9a52-0123456789ab";
    let params: [SqlValue; 9] = [
        true.into(),
        7.into(),
        "12345678901234567890.5".into(),
        r#"{"it's": "\\"}"#.into(),
        uuid.into(),
        "2026-11-28T10:00:00Z".into(),
        "2026-11-28".into(),
        "wild".into(),
        "{1,2}".into(),
    ];
    session.execute("INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", &params).await.expect("inserts");
    let rows = session.fetch("SELECT *, n::text AS digits FROM t WHERE m = $1", &["wild".into()]).await.expect("reads");
    let row = &rows[0];
    assert_eq!((row.integer("b"), row.integer("s"), row.text("u")), (Some(1), Some(7), Some(uuid)));
    assert_eq!(row.text("digits"), Some("12345678901234567890.5"));
    assert_eq!(row.text("j"), Some(r#"{"it's": "\\"}"#));
    assert_eq!((row.text("t"), row.text("d")), (Some("2026-11-28 10:00:00+00"), Some("2026-11-28")));
    assert_eq!((row.text("m"), row.text("a")), (Some("wild"), Some("{1,2}")));
    assert!(row.real("n").is_some());
    let sums = session.fetch("SELECT sum(s) AS s, avg(s) AS a FROM (VALUES (1), (2)) v (s)", &[]).await.expect("reads");
    assert_eq!((sums[0].integer("s"), sums[0].real("a")), (Some(3), Some(1.5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_stays_a_value_whatever_the_session_was_set_to() {
    let agents = agents().await;
    for setting in ["SET standard_conforming_strings = off", "SET client_encoding = 'SJIS'", "SET backslash_quote = on"]
    {
        let mut session = agents.open("ada").await;
        session.execute(setting, &[]).await.expect("sets");
        for text in ["'", "\\'", "'); DROP TABLE t; --", "\\x27", "E'"] {
            let rows = session.fetch("SELECT $1 AS t", &[text.into()]).await.expect("reads");
            assert_eq!(rows[0].text("t"), Some(text), "{setting}");
        }
    }
    let rows = agents.open("ada").await.fetch("SELECT $1 AS t", &["späte 🏝 Grüße".into()]).await.expect("reads");
    assert_eq!(rows[0].text("t"), Some("späte 🏝 Grüße"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_transaction_is_not_committed_and_may_be_mended_in_parts() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    let mut session = agents.open("ada").await;
    session.execute(NOTE, &["lost".into()]).await.expect("inserts");
    assert!(is_refused(&session.execute("INSERT INTO notes (id) VALUES (1)", &[]).await));
    assert!(is_refused(&session.fetch("SELECT 1", &[]).await));
    assert!(session.commit().await.is_err());
    assert_eq!(agents.count("ada").await, 1);
    let mut session = agents.open("ada").await;
    session.execute("SAVEPOINT here", &[]).await.expect("saves");
    assert!(is_refused(&session.execute("INSERT INTO notes (id) VALUES ($1)", &[1.into()]).await));
    session.execute("ROLLBACK TO here", &[]).await.expect("mends");
    session.execute(NOTE, &["kept".into()]).await.expect("inserts");
    session.commit().await.expect("commits");
    assert_eq!(agents.count("ada").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_session_sets_is_there_in_the_next() {
    let agents = agents_with(|options| options.pool(1, Duration::from_secs(5))).await;
    agents.with_notes("ada").await;
    let mut session = agents.open("ada").await;
    let pid = "SELECT pg_backend_pid() AS pid";
    let before = session.fetch(pid, &[]).await.expect("reads");
    session.execute("SET search_path = nowhere", &[]).await.expect("sets");
    session.execute("SET ROLE insula_agent", &[]).await.expect("sets");
    session.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", &[]).await.expect("sets");
    session.execute("DECLARE c CURSOR WITH HOLD FOR SELECT 1", &[]).await.expect("declares");
    session.commit().await.expect("commits");
    let mut session = agents.open("ada").await;
    assert_eq!(session.fetch(pid, &[]).await.expect("reads"), before, "it is the same connection");
    session.execute(NOTE, &["found".into()]).await.expect("inserts");
    assert!(is_refused(&session.execute("FETCH ALL FROM c", &[]).await));
}

const FOR_EVER: &str = "SELECT pg_sleep(1000)";

/// How many statements are running as any agent's role in this database.
async fn running(superuser: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND usename LIKE 'insula\\_u\\_%' AND state = 'active'";
    sqlx::query_scalar(sql).fetch_one(superuser).await.expect("counts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_is_ended_on_the_server_too() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    let mut superuser = agents.superuser().await;
    let mut session = agents.open("ada").await;
    session.execute(NOTE, &["x".into()]).await.expect("inserts");
    session.execute("SET statement_timeout = 0", &[]).await.expect("sets");
    let started = async {
        while running(&mut superuser).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        ended = session.fetch(FOR_EVER, &[]) => panic!("{ended:?}"),
        () = started => {}
    }
    drop(session);
    agents.none_open().await;
    assert_eq!(running(&mut superuser).await, 0);
    assert_eq!(agents.count("ada").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn per_7_one_user_more_than_the_pool_waits_for_the_timeout_and_no_longer() {
    let timeout = Duration::from_millis(50);
    let agents = agents_with(|options| options.pool(3, timeout)).await;
    let mut open = Vec::new();
    for n in 0..3 {
        open.push(agents.open(&format!("user-{n}")).await);
    }
    match agents.manager.open(&scope("one too many")).await {
        Err(Error::Timeout { after, .. }) => assert_eq!(after, timeout),
        other => panic!("{:?}", other.map(|_| "a session")),
    }
    assert_eq!(agents.manager.open_sessions(), 3);
    open.pop().expect("a session").rollback().await.expect("rolls back");
    assert!(agents.manager.open(&scope("one too many")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn per_7_one_user_who_takes_all_connections_does_not_starve_the_rest() {
    let agents = agents_with(|options| options.pool(4, Duration::from_millis(50)).sessions_per_user(3)).await;
    let mut taken = Vec::new();
    while let Ok(session) = agents.manager.open(&scope("greedy")).await {
        taken.push(session);
    }
    assert_eq!(taken.len(), 3);
    assert!(agents.manager.open(&scope("ada")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn never_more_connections_than_sessions_are_kept() {
    let agents = agents_with(|options| options.pool(3, Duration::from_secs(5))).await;
    for n in 0..9 {
        agents.open(&format!("user-{n}")).await.commit().await.expect("commits");
    }
    let sql =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'insula\\_u\\_%'";
    let mut superuser = agents.superuser().await;
    // The server lets go of a closed connection some time after its client.
    let few = async {
        while sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut superuser).await.expect("counts") > 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), few).await.expect("surplus connections are closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_users_tables_grow_to_their_limit_and_can_be_emptied_again() {
    let agents = agents_with(|options| options.bytes_per_user(256 << 10)).await;
    agents.with_notes("ada").await;
    let fill = "INSERT INTO notes (text) SELECT md5(n::text) FROM generate_series(1, $1) n";
    let mut session = agents.open("ada").await;
    session.execute(fill, &[10_000.into()]).await.expect("inserts");
    let full = session.commit().await;
    assert!(matches!(full, Err(Error::TooLarge { limit: 262_144, .. })), "{full:?}");
    assert_eq!(agents.count("ada").await, 1);
    agents.none_open().await;
    let mut session = agents.open("ada").await;
    session.execute("DROP TABLE notes", &[]).await.expect("drops");
    session.commit().await.expect("less is always allowed");
    agents.with_notes("ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_too_large_is_refused_and_ends_its_session() {
    let agents = agents().await;
    let mut session = agents.open("ada").await;
    let large = "SELECT repeat('x', 1000000) AS x FROM generate_series(1, 100)";
    let refused = session.fetch(large, &[]).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{:?}", refused.map(|rows| rows.len()));
    assert!(is_refused(&session.fetch("SELECT 1", &[]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_user_has_neither_schema_nor_role() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    let mut busy = agents.open("ada").await;
    busy.execute(NOTE, &["under way".into()]).await.expect("inserts");
    let mut session = agents.open("ada").await;
    session.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO insula_agent", &[]).await.expect("alters");
    session.execute("CREATE TYPE mood AS ENUM ('calm')", &[]).await.expect("creates");
    session.execute("CREATE FUNCTION f(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'", &[]).await.expect("creates");
    session.commit().await.expect("commits");
    agents.manager.forget_user(&scope("ada")).await.expect("forgets");
    assert!(is_refused(&busy.fetch("SELECT 1", &[]).await));
    busy.commit().await.expect("there is nothing to keep");
    let sql = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'u_1') AS schemas,
        (SELECT count(*) FROM pg_roles r JOIN pg_database d ON r.rolname = format('insula_u_%s_1', d.oid)
            AND d.datname = current_database()) AS roles, (SELECT count(*) FROM insula.doors) AS doors";
    let left = sqlx::query(sql).fetch_one(&mut agents.superuser().await).await.expect("counts");
    let left: [i64; 3] = ["schemas", "roles", "doors"].map(|name| left.get(name));
    assert_eq!(left, [0, 0, 0]);
    agents.with_notes("ada").await;
    assert_eq!(agents.count("ada").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_that_was_interrupted_is_finished_by_the_next_session() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    let mut superuser = agents.superuser().await;
    sqlx::query("SELECT set_config('insula.owners', '{1}', false)").execute(&mut superuser).await.expect("enters");
    sqlx::query("SELECT insula.close_agent(1)").execute(&mut superuser).await.expect("closes");
    let other = agents.backend_of_another_process().await;
    let mut session = other.session(&scope("ada")).await.expect("opens");
    assert!(is_refused(&session.fetch("SELECT * FROM notes", &[]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_queries_run_inside_the_session() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    let mut session = agents.backend.session(&scope("ada")).await.expect("opens");
    let on = session.connection().expect("is open");
    sqlx::query("INSERT INTO notes (text) VALUES ($1)").bind("typed").execute(on).await.expect("inserts");
    let on = session.connection().expect("is open");
    let found: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, text FROM notes ORDER BY id").fetch_all(on).await.expect("reads");
    assert_eq!(found, [(1, "ada".to_owned()), (2, "typed".to_owned())]);
    drop(session);
    agents.none_open().await;
    assert_eq!(agents.count("ada").await, 1);
}
