//! What an agent's statements try to reach, and do not.

use std::time::Duration;

use insula_infra::Error;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::agents::{agents, agents_with, as_role, is_refused, scope};

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
