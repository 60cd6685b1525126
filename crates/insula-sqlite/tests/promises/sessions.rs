//! Agents' own databases.

use std::{sync::Arc, time::Duration};

use insula_context::SqlValue;
use insula_infra::{DatabaseSession, DatabaseSessionManager, Error};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{at, folder, scope};

fn databases(folder: &TempDir) -> Arc<dyn DatabaseSessionManager> {
    at(folder).open().expect("opens").into_backend().database.expect("a database")
}

async fn session(databases: &Arc<dyn DatabaseSessionManager>, user: &str) -> Box<dyn DatabaseSession> {
    databases.open(&scope(user)).await.expect("opens")
}

async fn with_notes(databases: &Arc<dyn DatabaseSessionManager>, user: &str) {
    let mut session = session(databases, user).await;
    session.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)", &[]).await.expect("creates");
    session.commit().await.expect("commits");
}

async fn count(databases: &Arc<dyn DatabaseSessionManager>, user: &str) -> i64 {
    let rows = session(databases, user).await.fetch("SELECT count(*) AS n FROM notes", &[]).await.expect("counts");
    rows[0].integer("n").expect("a number")
}

const NOTE: &str = "INSERT INTO notes (text) VALUES (?1)";

#[tokio::test]
async fn per_1_a_failing_transaction_leaves_the_count_unchanged_and_no_session_open() {
    let folder = folder();
    let databases = databases(&folder);
    with_notes(&databases, "ada").await;
    let mut failing = session(&databases, "ada").await;
    assert_eq!(failing.execute(NOTE, &["kept?".into()]).await.expect("inserts"), 1);
    assert!(matches!(failing.execute("INSERT INTO nowhere VALUES (1)", &[]).await, Err(Error::Statement { .. })));
    drop(failing);
    let mut taken_back = session(&databases, "ada").await;
    taken_back.execute_many(NOTE, &[vec!["a".into()], vec![SqlValue::Null]]).await.expect("inserts");
    taken_back.rollback().await.expect("rolls back");
    assert_eq!(count(&databases, "ada").await, 0);
    assert_eq!(databases.open_sessions(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn per_6_fifteen_users_at_once_each_see_their_own_and_leave_nothing_open() {
    let folder = folder();
    let databases = databases(&folder);
    let mut users = JoinSet::new();
    for n in 0..15 {
        let databases = Arc::clone(&databases);
        users.spawn(async move {
            let user = format!("user-{n}");
            with_notes(&databases, &user).await;
            for _ in 0..=n {
                let mut session = session(&databases, &user).await;
                session.execute(NOTE, &[user.as_str().into()]).await.expect("inserts");
                session.commit().await.expect("commits");
            }
            let mut session = session(&databases, &user).await;
            let rows = session.fetch("SELECT text FROM notes", &[]).await.expect("reads");
            assert_eq!(rows.len(), n + 1);
            assert!(rows.iter().all(|row| row.text("text") == Some(&user)));
        });
    }
    users.join_all().await;
    assert_eq!(databases.open_sessions(), 0);
    assert_eq!(files(&folder), 15);
}

/// How many users' files there are.
fn files(folder: &TempDir) -> usize {
    let names = std::fs::read_dir(folder.path().join("insula.db.users")).expect("reads");
    names.filter(|name| name.as_ref().is_ok_and(|name| name.path().extension().is_some_and(|end| end == "db"))).count()
}

#[tokio::test]
async fn per_7_one_user_more_than_the_pool_waits_for_the_timeout_and_no_longer() {
    let folder = folder();
    let timeout = Duration::from_millis(50);
    let databases = at(&folder).pool(3, timeout).open().expect("opens").into_backend().database.expect("a database");
    let mut open = Vec::new();
    for n in 0..3 {
        open.push(session(&databases, &format!("user-{n}")).await);
    }
    match databases.open(&scope("one too many")).await {
        Err(Error::Timeout { after, .. }) => assert_eq!(after, timeout),
        other => panic!("{:?}", other.map(|_| "a session")),
    }
    assert_eq!(databases.open_sessions(), 3);
    open.pop();
    assert!(databases.open(&scope("one too many")).await.is_ok());
}

#[tokio::test]
async fn per_7_one_user_who_takes_all_connections_does_not_starve_the_rest() {
    let folder = folder();
    let options = at(&folder).pool(4, Duration::from_millis(50)).sessions_per_user(3);
    let databases = options.open().expect("opens").into_backend().database.expect("a database");
    let mut taken = Vec::new();
    while let Ok(session) = databases.open(&scope("greedy")).await {
        taken.push(session);
    }
    assert_eq!(taken.len(), 3);
    assert!(databases.open(&scope("ada")).await.is_ok());
}

#[tokio::test]
async fn statements_that_reach_beyond_the_users_tables_are_refused() {
    let folder = folder();
    let databases = databases(&folder);
    with_notes(&databases, "ada").await;
    let mut session = session(&databases, "ada").await;
    for sql in [
        "ATTACH DATABASE 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "BEGIN",
        "COMMIT",
        "END",
        "ROLLBACK",
        "PRAGMA hard_heap_limit = 1",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "PRAGMA user_version = 3",
        "SELECT load_extension('x')",
        "SELECT * FROM dbstat",
        "UPDATE sqlite_schema SET sql = ''",
        "CREATE VIRTUAL TABLE t USING dbstat",
        "SELECT 1; SELECT 2",
        "nonsense",
        "",
    ] {
        let refused = session.execute(sql, &[]).await;
        assert!(matches!(refused, Err(Error::Statement { .. })), "{sql}: {refused:?}");
    }
    assert_eq!(session.execute(NOTE, &["still here".into()]).await.expect("inserts"), 1);
    session.commit().await.expect("commits");
    assert_eq!(count(&databases, "ada").await, 1);
}

#[tokio::test]
async fn ordinary_sql_is_allowed() {
    let folder = folder();
    let databases = databases(&folder);
    let mut session = session(&databases, "ada").await;
    for sql in [
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT",
        "CREATE INDEX by_b ON t (b)",
        "SAVEPOINT here",
        "INSERT INTO t (b) VALUES ('x') RETURNING a",
        "ROLLBACK TO here",
        "RELEASE here",
        "CREATE VIRTUAL TABLE found USING fts5 (text)",
        "INSERT INTO found VALUES ('an island')",
        "ALTER TABLE t ADD COLUMN c REAL",
        "CREATE TRIGGER copies AFTER INSERT ON t BEGIN INSERT INTO found VALUES (new.b); END",
        "PRAGMA table_info(t)",
    ] {
        session.execute(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    let changed = session.execute("INSERT INTO t (b) VALUES ('y'), ('z')", &[]).await.expect("inserts");
    assert_eq!((changed, session.execute("CREATE TABLE u (a)", &[]).await.expect("creates")), (2, 0));
    let rows = session.fetch("SELECT text FROM found WHERE found MATCH 'island'", &[]).await.expect("finds");
    assert_eq!(rows.len(), 1);
}

#[tokio::test]
async fn a_statement_that_breaks_the_transaction_ends_the_session() {
    let folder = folder();
    let databases = databases(&folder);
    with_notes(&databases, "ada").await;
    let mut session = session(&databases, "ada").await;
    session.execute("INSERT INTO notes VALUES (1, 'x')", &[]).await.expect("inserts");
    let broken = session.execute("INSERT OR ROLLBACK INTO notes VALUES (1, 'x')", &[]).await;
    assert!(matches!(broken, Err(Error::Statement { .. })));
    // Without a transaction, this one would be durable at once.
    assert!(matches!(session.execute(NOTE, &["y".into()]).await, Err(Error::Statement { .. })));
    assert!(session.commit().await.is_err());
    assert_eq!(count(&databases, "ada").await, 0);
}

const FOR_EVER: &str = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

#[tokio::test]
async fn a_call_that_is_given_up_is_ended_and_rolled_back() {
    let folder = folder();
    let databases = databases(&folder);
    with_notes(&databases, "ada").await;
    let mut session = session(&databases, "ada").await;
    session.execute(NOTE, &["x".into()]).await.expect("inserts");
    let given_up = tokio::time::timeout(Duration::from_millis(20), session.fetch(FOR_EVER, &[])).await;
    assert!(given_up.is_err());
    drop(session);
    // The statement sees it within a thousand of its steps.
    while databases.open_sessions() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(count(&databases, "ada").await, 0);
}

#[tokio::test]
async fn two_sessions_of_one_user_take_turns_in_writing_and_read_what_is_committed() {
    let folder = folder();
    let databases = databases(&folder);
    with_notes(&databases, "ada").await;
    let (mut one, mut other) = (session(&databases, "ada").await, session(&databases, "ada").await);
    one.execute(NOTE, &["x".into()]).await.expect("inserts");
    let note = ["y".into()];
    let (written, committed) = tokio::join!(other.execute(NOTE, &note), one.commit());
    assert_eq!((written.expect("waits for its turn"), committed.is_ok()), (1, true));
    other.commit().await.expect("commits");
    assert_eq!(count(&databases, "ada").await, 2);
}

#[tokio::test]
async fn a_users_database_grows_to_its_limit_and_the_next_session_works_on() {
    let folder = folder();
    let options = at(&folder).bytes_per_user(64 << 10);
    let databases = options.open().expect("opens").into_backend().database.expect("a database");
    with_notes(&databases, "ada").await;
    let mut session = session(&databases, "ada").await;
    let full = session.execute("INSERT INTO notes (text) VALUES (hex(zeroblob(100000)))", &[]).await;
    assert!(matches!(full, Err(Error::TooLarge { limit: 65_536, .. })), "{full:?}");
    drop(session);
    let mut session = self::session(&databases, "ada").await;
    session.execute(NOTE, &["small".into()]).await.expect("inserts");
    session.commit().await.expect("commits");
}

#[tokio::test]
async fn a_temporary_table_goes_with_its_session() {
    let folder = folder();
    let databases = databases(&folder);
    let mut first = session(&databases, "ada").await;
    first.execute("CREATE TEMP TABLE scratch (n)", &[]).await.expect("creates");
    first.commit().await.expect("commits");
    let found = session(&databases, "ada").await.fetch("SELECT * FROM scratch", &[]).await;
    assert!(matches!(found, Err(Error::Statement { .. })));
}
