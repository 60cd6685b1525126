//! Rules of an agent's own tables. Statements are kept to what every dialect understands.

use insula_context::{SqlRow, SqlValue, UserScope};
use tokio::task::JoinSet;

use super::{Subject, subject::soon};
use crate::{DatabaseSession, Error};

const TABLE: &str = "CREATE TABLE notes (id BIGINT PRIMARY KEY, body TEXT)";
const INSERT: &str = "INSERT INTO notes (id, body) VALUES ($1, $2)";

async fn open(subject: &Subject, scope: &UserScope) -> Box<dyn DatabaseSession> {
    subject.database().open(scope).await.expect("a session is opened")
}

async fn insert(session: &mut dyn DatabaseSession, id: i64, body: &str) {
    let changed = session.execute(INSERT, &[id.into(), body.into()]).await.expect("a row is inserted");
    assert_eq!(changed, 1);
}

/// Creates the table, with one row, for good.
async fn prepare(subject: &Subject, scope: &UserScope, body: &str) {
    let mut session = open(subject, scope).await;
    session.execute(TABLE, &[]).await.expect("a table is created");
    insert(&mut *session, 1, body).await;
    session.commit().await.expect("it is durable");
}

async fn fetch(session: &mut dyn DatabaseSession, sql: &str) -> Vec<SqlRow> {
    session.fetch(sql, &[]).await.expect("rows are fetched")
}

async fn bodies(subject: &Subject, scope: &UserScope) -> Vec<String> {
    let mut session = open(subject, scope).await;
    let rows = fetch(&mut *session, "SELECT body FROM notes ORDER BY id").await;
    session.rollback().await.expect("the session ends");
    rows.iter().map(|row| row.text("body").expect("text").to_owned()).collect()
}

/// Dropping a session tells nobody when it is over, so this asks until it is.
async fn none_open(subject: &Subject) {
    let database = subject.database();
    let closed = async {
        while database.open_sessions() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    soon("the end of every session", closed).await;
}

/// A forgotten database is empty for its owner, also for whoever had a session open, and there for everybody else.
pub async fn forgets_the_database_of_its_owner_only(subject: Subject) {
    let ada = subject.ada();
    prepare(&subject, &ada, "hers").await;
    for other in subject.others() {
        prepare(&subject, &other, "theirs").await;
    }
    let open = open(&subject, &ada).await;
    subject.database().forget_user(&ada).await.expect("a database is forgotten");
    open.commit().await.expect("an open session ends");
    prepare(&subject, &ada, "anew").await;
    assert_eq!(bodies(&subject, &ada).await, ["anew"]);
    for other in subject.others() {
        assert_eq!(bodies(&subject, &other).await, ["theirs"], "{other}");
        subject.database().forget_user(&other).await.expect("a database is forgotten");
        subject.database().forget_user(&other).await.expect("twice is once");
    }
    assert_eq!(bodies(&subject, &ada).await, ["anew"]);
}

/// Two users' same table are two tables.
pub async fn keeps_the_same_table_of_two_users_apart(subject: Subject) {
    prepare(&subject, &subject.ada(), "hers").await;
    for other in subject.others() {
        prepare(&subject, &other, "theirs").await;
        assert_eq!(bodies(&subject, &other).await, ["theirs"], "{other}");
    }
    assert_eq!(bodies(&subject, &subject.ada()).await, ["hers"]);
}

/// Another user's table is as absent as one that never was.
pub async fn hides_tables_from_other_users(subject: Subject) {
    prepare(&subject, &subject.ada(), "hers").await;
    for other in subject.others() {
        let mut session = open(&subject, &other).await;
        let refused = session.fetch("SELECT body FROM notes", &[]).await;
        assert!(matches!(refused, Err(Error::Statement { .. })), "{other}: {refused:?}");
    }
}

/// A session does not leave its owner's database.
pub async fn reaches_no_other_database(subject: Subject) {
    prepare(&subject, &subject.user("bob"), "his").await;
    for escape in [
        "ATTACH DATABASE 'other.db' AS other",
        "ATTACH DATABASE ':memory:' AS other",
        "ATTACH 'file:other.db?mode=rwc' AS other",
        "VACUUM INTO 'copy.db'",
        "SELECT * FROM other.notes",
        "SELECT * FROM runs",
        "SELECT * FROM main.events",
        "COMMIT; ATTACH DATABASE 'other.db' AS other",
    ] {
        let mut session = open(&subject, &subject.ada()).await;
        let refused = session.execute(escape, &[]).await;
        assert!(matches!(refused, Err(Error::Statement { .. })), "{escape}: {refused:?}");
    }
}

/// A transaction ends by the session's word, not by a statement.
pub async fn leaves_the_transaction_to_its_session(subject: Subject) {
    let ada = subject.ada();
    prepare(&subject, &ada, "kept").await;
    for statement in ["COMMIT", "ROLLBACK", "BEGIN"] {
        let mut session = open(&subject, &ada).await;
        insert(&mut *session, 2, "not kept").await;
        let refused = session.execute(statement, &[]).await;
        assert!(matches!(refused, Err(Error::Statement { .. })), "{statement}: {refused:?}");
        session.rollback().await.expect("it is taken back");
        assert_eq!(bodies(&subject, &ada).await, ["kept"], "{statement}");
    }
}

/// What is committed is there for the next session.
pub async fn keeps_what_is_committed(subject: Subject) {
    prepare(&subject, &subject.ada(), "kept").await;
    assert_eq!(bodies(&subject, &subject.ada()).await, ["kept"]);
}

/// What is dropped before its commit never was.
pub async fn rolls_back_when_dropped(subject: Subject) {
    let ada = subject.ada();
    prepare(&subject, &ada, "kept").await;
    let mut session = open(&subject, &ada).await;
    insert(&mut *session, 2, "dropped").await;
    drop(session);
    none_open(&subject).await;
    assert_eq!(bodies(&subject, &ada).await, ["kept"]);
}

/// What is taken back never was, and that is so when the call returns.
pub async fn rolls_back_when_told(subject: Subject) {
    let ada = subject.ada();
    prepare(&subject, &ada, "kept").await;
    let mut session = open(&subject, &ada).await;
    insert(&mut *session, 2, "taken back").await;
    session.execute("CREATE TABLE more (id BIGINT)", &[]).await.expect("a table is created");
    session.rollback().await.expect("it is taken back");
    assert_eq!(bodies(&subject, &ada).await, ["kept"]);
    assert!(open(&subject, &ada).await.fetch("SELECT id FROM more", &[]).await.is_err(), "a table was kept");
}

/// A refused statement is the caller's, is said in words, and leaves the count of rows as it was.
pub async fn says_why_a_statement_was_refused(subject: Subject) {
    let ada = subject.ada();
    prepare(&subject, &ada, "kept").await;
    let mut session = open(&subject, &ada).await;
    insert(&mut *session, 2, "lost with the rest").await;
    match session.execute(INSERT, &[1.into(), "a second one".into()]).await {
        Err(Error::Statement { message }) => assert!(!message.is_empty(), "no words"),
        other => panic!("a second row of the same key: {other:?}"),
    }
    drop(session);
    none_open(&subject).await;
    assert_eq!(bodies(&subject, &ada).await, ["kept"]);
    for nonsense in ["SELEKT 1", "SELECT nothing FROM nowhere"] {
        let refused = open(&subject, &ada).await.fetch(nonsense, &[]).await;
        assert!(matches!(refused, Err(Error::Statement { .. })), "{nonsense:?}: {refused:?}");
    }
}

/// Many rows by one statement: in order, counted, ended by the first refusal.
pub async fn executes_a_statement_for_many_rows(subject: Subject) {
    let ada = subject.ada();
    prepare(&subject, &ada, "1").await;
    let rows: Vec<Vec<SqlValue>> = (2..=100).map(|n: i64| vec![n.into(), n.to_string().into()]).collect();
    let mut session = open(&subject, &ada).await;
    assert_eq!(session.execute_many(INSERT, &rows).await.expect("rows are inserted"), 99);
    session.commit().await.expect("they are durable");
    assert_eq!(bodies(&subject, &ada).await, (1..=100).map(|n| n.to_string()).collect::<Vec<_>>());
    let twice = [rows[0].clone(), vec![101.into(), "101".into()]];
    let refused = open(&subject, &ada).await.execute_many(INSERT, &twice).await;
    assert!(matches!(refused, Err(Error::Statement { .. })), "{refused:?}");
}

/// Values come back as what they were.
pub async fn reads_values_as_they_were_written(subject: Subject) {
    let ada = subject.ada();
    table_of_every_type(&subject, &ada).await;
    let mut session = open(&subject, &ada).await;
    let bytes = SqlValue::Blob(vec![0, 255, 1]);
    let written: [SqlValue; 4] = [i64::MIN.into(), 0.5.into(), "späte Grüße".into(), bytes];
    for row in [&written, &[const { SqlValue::Null }; 4]] {
        session.execute("INSERT INTO v (n, x, t, b) VALUES ($1, $2, $3, $4)", row).await.expect("a row is inserted");
    }
    let rows = fetch(&mut *session, "SELECT n, x, t, b FROM v").await;
    let read = |row: &SqlRow| ["n", "x", "t", "b"].map(|column| row.value(column).expect("a column").clone());
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().any(|row| read(row) == written), "{rows:?}");
    assert!(rows.iter().any(|row| read(row).iter().all(|value| *value == SqlValue::Null)), "{rows:?}");
}

/// Dialects agree on the types of everything but bytes.
async fn table_of_every_type(subject: &Subject, scope: &UserScope) {
    for bytes in ["BLOB", "BYTEA"] {
        let mut session = open(subject, scope).await;
        let create = format!("CREATE TABLE v (n BIGINT, x DOUBLE PRECISION, t TEXT, b {bytes})");
        if session.execute(&create, &[]).await.is_ok() {
            return session.commit().await.expect("it is durable");
        }
    }
    panic!("no table of every type could be created");
}

/// Two users at work at the same time do not see each other, and one's end is not the other's.
pub async fn shares_no_session(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    prepare(&subject, &ada, "hers").await;
    prepare(&subject, &bob, "his").await;
    let (mut hers, mut his) = (open(&subject, &ada).await, open(&subject, &bob).await);
    assert_eq!(subject.database().open_sessions(), 2);
    insert(&mut *hers, 2, "hers too").await;
    insert(&mut *his, 2, "his too").await;
    hers.commit().await.expect("it is durable");
    his.rollback().await.expect("it is taken back");
    assert_eq!(
        (bodies(&subject, &ada).await, bodies(&subject, &bob).await.len()),
        (vec!["hers".into(), "hers too".into()], 1)
    );
}

/// Fifteen users at a time: each finds the own rows, and no session is left open.
pub async fn serves_many_users_at_a_time(subject: Subject) {
    let mut tasks = JoinSet::new();
    for n in 0..15 {
        let subject = subject.clone();
        tasks.spawn(async move {
            let (owner, body) = (subject.user(&format!("user-{n}")), format!("of user {n}"));
            prepare(&subject, &owner, &body).await;
            let mut failing = open(&subject, &owner).await;
            insert(&mut *failing, 2, "lost").await;
            assert!(failing.execute("SELEKT", &[]).await.is_err());
            drop(failing);
            assert_eq!(bodies(&subject, &owner).await, [body]);
        });
    }
    tasks.join_all().await;
    none_open(&subject).await;
}

/// However a session ends, it is not open any more.
pub async fn counts_open_sessions_back_to_zero(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(subject.database().open_sessions(), 0);
    let session = open(&subject, &ada).await;
    assert_eq!(subject.database().open_sessions(), 1);
    session.commit().await.expect("it is durable");
    open(&subject, &ada).await.rollback().await.expect("it is taken back");
    drop(open(&subject, &ada).await);
    none_open(&subject).await;
}
