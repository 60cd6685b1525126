//! One transaction on one user's database.

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use insula_context::{SqlRow, SqlValue};
use insula_infra::{DatabaseSession, Error, pool::Place};
use rusqlite::{
    Connection, ErrorCode,
    types::{ToSql, ToSqlOutput, Value, ValueRef},
};
use tokio::{runtime::Handle, task};

use crate::{
    database::{Count, Door},
    guard::Switches,
};

/// The most that one query may return, in bytes of values.
const RESULT_BYTES: u64 = 64 << 20;

/// A session. Its statements run on blocking threads; a call that is given up is ended there, and everything rolled back.
#[derive(Debug)]
pub(crate) struct Session {
    held: Arc<Mutex<Option<Held>>>,
    switches: Switches,
    runtime: Handle,
}

/// What a session has taken.
#[derive(Debug)]
struct Held {
    door: Door,
    count: Count,
    place: Place,
}

impl Session {
    /// From a connection with an open transaction.
    pub(crate) fn new(door: Door, count: Count, place: Place) -> Self {
        let switches = door.switches.clone();
        let held = Arc::new(Mutex::new(Some(Held { door, count, place })));
        Self { held, switches, runtime: Handle::current() }
    }

    /// Does something with the connection on a blocking thread. Given up, it is ended there, and the session with it.
    async fn with<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(&Door) -> rusqlite::Result<T> + Send + 'static,
    {
        let given_up = GivenUp(Some(&self.switches));
        let held = Arc::clone(&self.held);
        let outcome = blocking(operation, move || {
            let held = lock(&held);
            let Some(Held { door, count, .. }) = &*held else { return Err(ended()) };
            // A statement that broke the transaction ended it; the next would run outside of one.
            if door.connection.is_autocommit() || door.switches.is_abandoned() {
                return Err(ended());
            }
            let databases = count.databases();
            let outcome = patiently(door, databases.busy_tries(), work);
            outcome.map_err(|error| refused(door, databases.bytes_per_user(), operation, error))
        })
        .await;
        given_up.not();
        outcome?
    }

    async fn end(self, operation: &'static str, sql: &'static str) -> Result<(), Error> {
        let outcome = self.with(operation, move |door| door.switches.run_own(&door.connection, sql)).await;
        let held = Arc::clone(&self.held);
        // The drop of the session would do it as well, but later.
        blocking(operation, move || release(&held)).await?;
        outcome
    }
}

#[async_trait]
impl DatabaseSession for Session {
    async fn execute(&mut self, sql: &str, params: &[SqlValue]) -> Result<u64, Error> {
        self.execute_many(sql, std::slice::from_ref(&params.to_vec())).await
    }

    async fn execute_many(&mut self, sql: &str, rows: &[Vec<SqlValue>]) -> Result<u64, Error> {
        let (sql, rows) = (sql.to_owned(), rows.to_vec());
        self.with("execute", move |door| execute(&door.connection, &sql, &rows)).await
    }

    async fn fetch(&mut self, sql: &str, params: &[SqlValue]) -> Result<Vec<SqlRow>, Error> {
        let (sql, params) = (sql.to_owned(), params.to_vec());
        self.with("fetch", move |door| fetch(&door.connection, &sql, &params)).await?
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.end("commit", "COMMIT").await
    }

    async fn rollback(self: Box<Self>) -> Result<(), Error> {
        match self.end("roll back", "ROLLBACK").await {
            // A statement had taken everything back before.
            Err(Error::Statement { .. }) => Ok(()),
            outcome => outcome,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.held.try_lock().is_ok() {
            // Nothing runs: taking back is quick, and whoever drops a session may count on it.
            return release(&self.held);
        }
        self.switches.abandon();
        let held = Arc::clone(&self.held);
        // Not awaited: that thread waits for the statement to see that it was given up. If the runtime is gone, dropping
        // the connection rolls back.
        drop(self.runtime.spawn_blocking(move || release(&held)));
    }
}

/// Tells the running statement to end when the future that waits for it is dropped.
struct GivenUp<'a>(Option<&'a Switches>);

impl GivenUp<'_> {
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        if let Some(switches) = self.0 {
            switches.abandon();
        }
    }
}

/// Rolls back what is still open and gives everything back.
fn release(held: &Mutex<Option<Held>>) {
    let Some(Held { door, count, place }) = lock(held).take() else { return };
    door.switches.revive();
    if !door.connection.is_autocommit()
        && let Err(error) = door.switches.run_own(&door.connection, "ROLLBACK")
    {
        tracing::warn!(%error, file = door.file.name(), "closing a connection that cannot roll back");
    }
    count.databases().give_back(door);
    // The place comes last: whoever gets it next must not find more sessions open than there are places.
    drop(count);
    drop(place);
}

fn lock(held: &Mutex<Option<Held>>) -> MutexGuard<'_, Option<Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ended() -> Error {
    Error::Statement {
        message: "the transaction has ended: an earlier statement broke it, nothing of it is kept".into(),
    }
}

/// Runs on a blocking thread.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let lost = |error| Error::Unavailable { operation, component: "a blocking thread", source: Some(Arc::new(error)) };
    task::spawn_blocking(work).await.map_err(lost)
}

/// Tries again while another session of the same user is writing, unless this one is given up.
fn patiently<T>(door: &Door, mut tries: u32, work: impl Fn(&Door) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    loop {
        match work(door) {
            Err(error) if tries > 0 && is_waiting(&error) && !door.switches.is_abandoned() => tries -= 1,
            outcome => return outcome,
        }
    }
}

/// Somebody else is writing. Only the first write of a transaction meets this, so nothing was done yet. If somebody else
/// has written since this transaction first read, waiting does not help.
fn is_waiting(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::DatabaseBusy && error.extended_code != rusqlite::ffi::SQLITE_BUSY_SNAPSHOT
    })
}

fn execute(connection: &Connection, sql: &str, rows: &[Vec<SqlValue>]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut changed = 0;
    for params in rows {
        let before = connection.total_changes();
        let mut rows = statement.query(rusqlite::params_from_iter(params.iter().map(Bound)))?;
        while rows.next()?.is_some() {}
        drop(rows);
        // The driver's count is that of the last statement that counts, which need not be this one.
        if connection.total_changes() > before && !changes_the_schema(sql) {
            changed += connection.changes();
        }
    }
    Ok(changed)
}

/// The driver counts the rows of its own catalogue as well.
fn changes_the_schema(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default();
    ["create", "drop", "alter", "analyze", "reindex"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

fn fetch(connection: &Connection, sql: &str, params: &[SqlValue]) -> rusqlite::Result<Result<Vec<SqlRow>, Error>> {
    let mut statement = connection.prepare_cached(sql)?;
    let columns: Arc<[String]> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = statement.query(rusqlite::params_from_iter(params.iter().map(Bound)))?;
    let (mut found, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(columns.len());
        for column in 0..columns.len() {
            values.push(value(row.get_ref(column)?, &mut size));
        }
        if size > RESULT_BYTES {
            return Ok(Err(Error::TooLarge { what: "the result of a query", size, limit: RESULT_BYTES }));
        }
        found.push(SqlRow::new(Arc::clone(&columns), values));
    }
    Ok(Ok(found))
}

fn value(value: ValueRef<'_>, size: &mut u64) -> SqlValue {
    let (value, bytes) = match value {
        ValueRef::Null => (SqlValue::Null, 0),
        ValueRef::Integer(n) => (SqlValue::Integer(n), 0),
        ValueRef::Real(x) => (SqlValue::Real(x), 0),
        ValueRef::Text(text) => (SqlValue::Text(String::from_utf8_lossy(text).into_owned()), text.len()),
        ValueRef::Blob(blob) => (SqlValue::Blob(blob.to_vec()), blob.len()),
    };
    *size += size_of::<SqlValue>() as u64 + bytes as u64;
    value
}

/// A parameter.
struct Bound<'a>(&'a SqlValue);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            SqlValue::Null => ToSqlOutput::Owned(Value::Null),
            SqlValue::Integer(n) => ToSqlOutput::Owned(Value::Integer(*n)),
            SqlValue::Real(x) => ToSqlOutput::Owned(Value::Real(*x)),
            SqlValue::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            SqlValue::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// Whose fault it is: the statement's, or the file's.
fn refused(door: &Door, bytes_per_user: u64, operation: &'static str, error: rusqlite::Error) -> Error {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase, OperationInterrupted,
        OutOfMemory, ReadOnly, SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(DiskFull) => full(door, bytes_per_user, error),
        Some(
            CannotOpen | DatabaseBusy | DatabaseCorrupt | DatabaseLocked | NotADatabase | OperationInterrupted
            | OutOfMemory | ReadOnly | SystemIoFailure,
        ) => door.file.error(operation, error),
        _ => Error::Statement { message: words(&error) },
    }
}

/// The user's limit and the disk's end look the same to SQLite, so the disk itself is asked.
fn full(door: &Door, bytes_per_user: u64, error: rusqlite::Error) -> Error {
    if has_room(&door.path.with_extension("probe")) {
        let (what, size) = ("the user's database", bytes_per_user.saturating_add(1));
        return Error::TooLarge { what, size, limit: bytes_per_user };
    }
    door.file.error("execute", error)
}

/// Whether the disk still takes a file of a mebibyte.
fn has_room(probe: &Path) -> bool {
    let took_it = std::fs::write(probe, vec![1; 1 << 20]).is_ok();
    let tidied = std::fs::remove_file(probe).is_ok();
    took_it && tidied
}

/// The driver's words. SQLite's "not authorized" alone does not say by whom.
fn words(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::AuthorizationForStatementDenied) => {
            format!("{error}: statements reach the user's own tables only, and the session ends its transaction itself")
        }
        _ => error.to_string(),
    }
}
