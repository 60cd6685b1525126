//! Agents' own tables.

use std::{sync::Arc, time::Duration};

use insula_context::{SqlValue, UserScope};
use insula_infra::{
    DatabaseSession, DatabaseSessionManager, Error,
    conformance::{ManualClock, Subject},
};
use insula_postgres::{Options, PostgresBackend, migrate};
use insula_test_services::Postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

async fn subject() -> Subject {
    let (clock, postgres) = (Arc::new(ManualClock::new()), database().await);
    let backend = options(&postgres).clock(clock.clone()).connect().await.expect("connects");
    Subject::new(backend.into_backend(), clock).keeping(postgres)
}

insula_infra::conformance!(agents, subject, [database]);

fn scope(user: &str) -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
    let issuer = insula_context::ScopeIssuer::new();
    issuer.issue("acme", user).expect("valid")
}

async fn database() -> Postgres {
    let postgres = Postgres::fresh("agents").await;
    migrate(&postgres.url()).await.expect("migrates");
    postgres
}

fn options(postgres: &Postgres) -> Options {
    PostgresBackend::at(as_role(postgres, "insula_app")).connections(4)
}

/// The same address for another role: on loopback, the server for tests trusts everybody.
fn as_role(postgres: &Postgres, role: &str) -> String {
    let url = postgres.url();
    let (_, rest) = url.split_once('@').expect("an address with a user");
    format!("postgres://{role}@{rest}")
}

struct Agents {
    postgres: Postgres,
    backend: PostgresBackend,
    manager: Arc<dyn DatabaseSessionManager>,
}

async fn agents() -> Agents {
    agents_with(|options| options).await
}

async fn agents_with(set: impl FnOnce(Options) -> Options) -> Agents {
    let postgres = database().await;
    let backend = set(options(&postgres)).connect().await.expect("connects");
    let manager = backend.clone().into_backend().database.expect("a database");
    Agents { postgres, backend, manager }
}

impl Agents {
    async fn open(&self, user: &str) -> Box<dyn DatabaseSession> {
        self.manager.open(&scope(user)).await.expect("opens")
    }

    async fn with_notes(&self, user: &str) {
        let mut session = self.open(user).await;
        session.execute("CREATE TABLE notes (id bigserial PRIMARY KEY, text text)", &[]).await.expect("creates");
        session.execute(NOTE, &[user.into()]).await.expect("inserts");
        session.commit().await.expect("commits");
    }

    async fn count(&self, user: &str) -> i64 {
        let rows = self.open(user).await.fetch("SELECT count(*) AS n FROM notes", &[]).await.expect("counts");
        rows[0].integer("n").expect("a number")
    }

    async fn superuser(&self) -> PgConnection {
        PgConnection::connect(&self.postgres.url()).await.expect("connects")
    }

    async fn none_open(&self) {
        let closed = async {
            while self.manager.open_sessions() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), closed).await.expect("every session ends");
    }
}

const NOTE: &str = "INSERT INTO notes (text) VALUES ($1)";

fn is_refused<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Statement { .. }))
}

/// Ways out that must end in a refusal. `u_2` and its table are another user's.
const ESCAPES: &[&str] = &[
    "SELECT * FROM u_2.notes",
    "INSERT INTO u_2.notes (text) VALUES ('x')",
    "CREATE TABLE u_2.mine (a int)",
    "CREATE TABLE mine (LIKE u_2.notes)",
    "CREATE TABLE mine (a bigint REFERENCES u_2.notes (id))",
    "CREATE VIEW mine AS SELECT * FROM u_2.notes",
    "DROP SCHEMA u_2 CASCADE",
    "DROP SCHEMA u_1 CASCADE",
    "ALTER SCHEMA u_1 RENAME TO u_3",
    "ALTER SCHEMA u_1 OWNER TO CURRENT_USER",
    "SELECT * FROM insula.runs",
    "SELECT * FROM insula.doors",
    "SELECT insula.agent_door(2, 1, true)",
    "SELECT insula.forget_agent(2)",
    "SELECT insula.entered()",
    "SELECT nextval('insula.run_numbers')",
    "SET ROLE insula_app",
    "SET ROLE insula_owner",
    "SET ROLE insula_keeper",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "DO $$ BEGIN EXECUTE 'SET ROLE insula_keeper'; END $$",
    "DO $$ BEGIN COMMIT; END $$",
    "DO $$ BEGIN EXECUTE 'COMMIT'; END $$",
    "SELECT set_config('role', 'insula_app', false)",
    "SELECT set_config('session_authorization', 'postgres', false)",
    "GRANT insula_app TO CURRENT_USER",
    "GRANT insula_agent TO insula_app",
    "GRANT USAGE ON SCHEMA u_2 TO CURRENT_USER",
    "ALTER ROLE insula_app PASSWORD 'x'",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEROLE",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
    "ALTER ROLE CURRENT_USER SET temp_file_limit = -1",
    "ALTER ROLE CURRENT_USER RESET temp_file_limit",
    "SET temp_file_limit = -1",
    "ALTER DEFAULT PRIVILEGES FOR ROLE insula_app GRANT SELECT ON TABLES TO PUBLIC",
    "ALTER SYSTEM SET work_mem = '1GB'",
    "ALTER DATABASE postgres SET work_mem = '1GB'",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "CREATE SCHEMA mine",
    "CREATE TABLE public.mine (a int)",
    "CREATE TABLE insula_agents.mine (a int)",
    "CREATE FUNCTION insula_agents.size2() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION file_fdw",
    "CREATE EXTENSION pgcrypto SCHEMA u_1",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc', 'system'",
    "CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'pg_sleep'",
    "CREATE LANGUAGE plperlu",
    "CREATE FOREIGN DATA WRAPPER mine",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION now()",
    "CREATE PUBLICATION mine FOR ALL TABLES",
    "CREATE SUBSCRIPTION mine CONNECTION 'dbname=postgres' PUBLICATION mine",
    "CREATE TABLESPACE mine LOCATION '/tmp'",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, '\\x00')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_get(1)",
    "SELECT loread(1, 1)",
    "SELECT pg_advisory_lock(7310593858020254331)",
    "SELECT pg_advisory_xact_lock(1, 2)",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_advisory_unlock_all()",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_stat_file('PG_VERSION')",
    "SELECT current_setting('data_directory')",
    "SELECT pg_reload_conf()",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_cancel_backend(1)",
    "SELECT pg_notify('insula', 'x')",
    "SELECT pg_switch_wal()",
    "SELECT pg_logical_emit_message(true, 'a', 'b')",
    "SELECT pg_stat_reset()",
    "SELECT pg_export_snapshot()",
    "SELECT * FROM pg_class",
    "SELECT * FROM pg_proc",
    "SELECT * FROM pg_authid",
    "SELECT * FROM pg_shadow",
    "SELECT * FROM pg_roles",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_stat_get_activity(NULL)",
    "SELECT * FROM pg_stats",
    "SELECT * FROM pg_locks",
    "SELECT * FROM pg_lock_status()",
    "SELECT * FROM pg_enum",
    "SELECT * FROM pg_description",
    "SELECT * FROM pg_database",
    "SELECT * FROM information_schema.routines",
    "SELECT * FROM information_schema.views",
    "SELECT pg_get_viewdef(1::oid)",
    "SELECT pg_get_functiondef(1::oid)",
    "SELECT pg_relation_size('pg_class')",
    "SELECT pg_database_size('postgres')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT query_to_xml('SELECT * FROM u_2.notes', true, true, '')",
    "LOCK TABLE pg_class IN ACCESS SHARE MODE",
    "LOCK TABLE insula.runs",
    "TRUNCATE insula.runs",
    "COMMENT ON DATABASE postgres IS 'x'",
    "REASSIGN OWNED BY insula_app TO CURRENT_USER",
    "CREATE RULE mine AS ON INSERT TO u_2.notes DO NOTHING",
    "CREATE TRIGGER mine AFTER INSERT ON u_2.notes EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "COPY notes TO '/tmp/notes'",
    "COPY notes TO PROGRAM 'id'",
    "COPY notes FROM STDIN",
    "DO $$ BEGIN EXECUTE 'COPY notes TO PROGRAM ''id'''; END $$",
    "DO $$ BEGIN EXECUTE 'COPY notes TO STDOUT'; END $$",
    "LISTEN insula",
    "NOTIFY insula",
    "LOAD 'auto_explain'",
    "VACUUM notes",
    "CHECKPOINT",
    "SELECT 1; COMMIT",
    "PREPARE TRANSACTION 'a'",
    "EXECUTE a",
    "nonsense",
    "",
];

#[tokio::test(flavor = "multi_thread")]
async fn per_2_no_statement_reaches_beyond_the_users_own_tables() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    agents.with_notes("bob").await;
    let mut got_out = Vec::new();
    for sql in ESCAPES {
        let outcome = agents.open("ada").await.execute(sql, &[]).await;
        if !is_refused(&outcome) {
            got_out.push((sql, outcome));
        }
    }
    assert!(got_out.is_empty(), "{got_out:#?}");
    assert_eq!((agents.count("ada").await, agents.count("bob").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn per_2_what_may_be_set_opens_nothing() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    agents.with_notes("bob").await;
    let mut session = agents.open("ada").await;
    for harmless in [
        "SELECT set_config('insula.owners', '{1,2}', false)",
        "SET search_path = u_2, insula, public",
        "SET row_security = off",
        "RESET SESSION AUTHORIZATION",
        "RESET ROLE",
        "GRANT ALL ON u_1.notes TO PUBLIC",
        "SET ROLE insula_agent",
    ] {
        session.execute(harmless, &[]).await.unwrap_or_else(|error| panic!("{harmless}: {error}"));
    }
    assert!(is_refused(&session.fetch("SELECT * FROM u_2.notes", &[]).await));
    drop(session);
    let mut session = agents.open("ada").await;
    session.execute("GRANT ALL ON notes TO PUBLIC", &[]).await.expect("grants");
    session.commit().await.expect("commits");
    let theirs = agents.open("bob").await.fetch("SELECT * FROM u_1.notes", &[]).await;
    assert!(is_refused(&theirs), "what one user gives away, another does not get: {theirs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn per_2_an_agent_sees_its_own_tables_described_and_no_others() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    agents.with_notes("bob").await;
    let sql = "SELECT table_schema AS s FROM information_schema.tables WHERE table_name = 'notes'";
    let rows = agents.open("ada").await.fetch(sql, &[]).await.expect("reads");
    assert_eq!(rows.iter().map(|row| row.text("s").expect("text")).collect::<Vec<_>>(), ["u_1"]);
}

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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_has_set_for_itself_for_good_is_taken_back() {
    let agents = agents_with(|options| options.pool(1, Duration::from_secs(5))).await;
    agents.with_notes("ada").await;
    for setting in
        ["SET exit_on_error = on", "SET search_path = nowhere", "SET statement_timeout = 1", "PASSWORD 'mine'"]
    {
        let mut session = agents.open("ada").await;
        session.execute(&format!("ALTER ROLE CURRENT_USER {setting}"), &[]).await.expect("alters");
        session.commit().await.expect("commits");
        // Another user takes the only place, so ada's connection goes and the next is a new one.
        drop(agents.open("bob").await);
        agents.none_open().await;
        let mut session = agents.open("ada").await;
        assert!(is_refused(&session.execute("SELEKT", &[]).await), "{setting}");
        drop(session);
        agents.none_open().await;
        assert_eq!(agents.count("ada").await, 1, "{setting}");
        agents.none_open().await;
    }
    let sql = "SELECT count(*) FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole
        JOIN pg_database d ON r.rolname = format('insula_u_%s_1', d.oid) AND d.datname = current_database()
        WHERE s.setconfig <> ARRAY['temp_file_limit=1GB']";
    let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut agents.superuser().await).await.expect("counts");
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_renewed_when_it_is_asked_for() {
    let agents = agents().await;
    agents.with_notes("ada").await;
    let mut app = PgConnection::connect(&as_role(&agents.postgres, "insula_app")).await.expect("connects");
    let mut seen = Vec::new();
    for renew in [false, false, true] {
        let mut tx = app.begin().await.expect("begins");
        sqlx::query("SELECT set_config('insula.owners', '{1}', true)").execute(&mut *tx).await.expect("enters");
        let door = "SELECT door_password FROM insula.agent_door(1, 32, $1)";
        seen.push(sqlx::query_scalar::<_, String>(door).bind(renew).fetch_one(&mut *tx).await.expect("a door"));
        tx.commit().await.expect("commits");
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[1], seen[2]);
    let unentered = sqlx::query("SELECT * FROM insula.agent_door(1, 32, false)").execute(&mut app).await;
    assert!(unentered.is_err(), "a door was opened to nobody's");
    assert!(sqlx::query("SELECT * FROM insula.doors").execute(&mut app).await.is_err(), "passwords were read");
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

impl Agents {
    async fn backend_of_another_process(&self) -> PostgresBackend {
        options(&self.postgres).connect().await.expect("connects")
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_is_let_in_where_the_database_is_open_to_everybody() {
    let agents = agents().await;
    let mut superuser = agents.superuser().await;
    for (open, close) in [
        ("GRANT SELECT ON pg_catalog.pg_class TO PUBLIC", "REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC"),
        (
            "GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC",
            "REVOKE EXECUTE ON FUNCTION pg_advisory_lock(bigint) FROM PUBLIC",
        ),
        ("GRANT USAGE ON SCHEMA insula TO PUBLIC", "REVOKE USAGE ON SCHEMA insula FROM PUBLIC"),
    ] {
        sqlx::query(AssertSqlSafe(open)).execute(&mut superuser).await.expect("grants");
        let refused = agents.manager.open(&scope("ada")).await.map(|_| "a session");
        assert!(matches!(refused, Err(Error::Database { .. })), "{open}: {refused:?}");
        sqlx::query(AssertSqlSafe(close)).execute(&mut superuser).await.expect("revokes");
    }
    agents.open("ada").await.commit().await.expect("commits");
}
