//! One transaction on one owner's tables.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use insula_context::{SqlRow, SqlValue};
use insula_infra::{DatabaseSession, Error, Source, pool::Place};
use sqlx::{PgConnection, postgres::PgDatabaseError};
use tokio::sync::oneshot;

use crate::{
    connect::STATEMENT,
    database::{Count, Inner},
    door::Door,
    error::{self, Stop, Worked},
    guard::{self, Kind},
    values,
};

/// How many bytes of statements go to the server in one message.
const MESSAGE_BYTES: usize = 1 << 20;

/// An open transaction on the tables of one user's agents. Dropped before it is committed, it is rolled back. A call that is
/// given up ends the statement on the server, and the session with it.
pub struct PgSession {
    held: Option<Held>,
    inner: Arc<Inner>,
    /// Whether the user's tables were deleted meanwhile.
    is_forgotten: Arc<AtomicBool>,
}

/// What a session has taken. However it is dropped, its connection is made fit for the next session or ended.
pub(crate) struct Held {
    door: Option<Door>,
    /// They go last, the place behind the count: whoever gets it next must not find more sessions than places.
    rest: Option<(Count, Place)>,
    inner: Arc<Inner>,
}

type Work<A, T> = for<'d> fn(&'d mut Door, &'d A) -> BoxFuture<'d, Worked<T>>;

/// What is left of a session after a call.
type After<T> = (Option<Held>, Result<T, Error>);

impl Held {
    /// From a connection with an open transaction.
    pub(crate) fn new(door: Door, count: Count, place: Place, inner: Arc<Inner>) -> Self {
        Self { door: Some(door), rest: Some((count, place)), inner }
    }

    fn is_forgotten(&self) -> bool {
        self.rest.as_ref().is_none_or(|(count, _)| count.is_forgotten().load(Ordering::Acquire))
    }

    /// Does something with the connection. `None` as soon as nobody waits for it any more.
    async fn work<A, T>(&mut self, gone: oneshot::Receiver<()>, with: &A, work: Work<A, T>) -> Option<Worked<T>> {
        let door = self.door.as_mut()?;
        tokio::select! {
            biased;
            outcome = work(door, with) => Some(outcome),
            _ = gone => None,
        }
    }

    /// Rolls back what is open, and gives everything back.
    async fn give_back(mut self) {
        let is_forgotten = self.is_forgotten();
        let Some(mut door) = self.door.take() else { return };
        if !is_forgotten && door.tidy().await {
            self.inner.give_back(door);
        } else {
            door.stop(self.inner.shared()).await;
        }
    }

    /// Ends the connection, whatever it is doing.
    async fn stop(mut self) {
        if let Some(door) = self.door.take() {
            door.stop(self.inner.shared()).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (door, rest) = (self.door.take(), self.rest.take());
        if door.is_some() {
            let held = Self { door, rest, inner: Arc::clone(&self.inner) };
            // Not awaited: without a runtime the connection is closed, which rolls back.
            drop(self.inner.home().handle().spawn(held.give_back()));
        }
    }
}

impl PgSession {
    pub(crate) fn new(held: Held) -> Self {
        let is_forgotten = held.rest.as_ref().map(|(count, _)| count.is_forgotten()).unwrap_or_default();
        Self { inner: Arc::clone(&held.inner), held: Some(held), is_forgotten }
    }

    /// The connection, for queries that are checked when they are compiled and values that are typed. It is inside the
    /// session's transaction and runs as the user's own role: what is sent here may end the transaction, but reaches nothing
    /// else. A call that is given up is waited for when the session ends. Types that an agent has made itself cannot be
    /// looked up here; write them as text.
    ///
    /// # Errors
    /// [`Error::Statement`] when the session has ended.
    pub fn connection(&mut self) -> Result<&mut PgConnection, Error> {
        let door = self.held.as_mut().and_then(|held| held.door.as_mut());
        door.map(|door| &mut door.connection).ok_or_else(ended)
    }

    async fn with<A, T>(&mut self, operation: &'static str, with: A, work: Work<A, T>) -> Result<T, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        if self.is_forgotten.load(Ordering::Acquire) {
            return Err(ended());
        }
        let mut held = self.held.take().ok_or_else(ended)?;
        let (waiting, gone) = oneshot::channel();
        let task = self.inner.home().handle().spawn(async move {
            let outcome = held.work(gone, &with, work).await;
            settle(operation, held, outcome).await
        });
        let (held, outcome) = task.await.unwrap_or_else(|_| (None, Err(error::gone(operation))));
        drop(waiting);
        self.held = held;
        outcome
    }

    async fn run(&mut self, operation: &'static str, sql: &str, rows: Vec<Vec<SqlValue>>) -> Result<Ran, Error> {
        let kind = guard::kind_of(sql)?;
        rows.iter().try_for_each(|params| guard::check(params))?;
        if !kind.can_be_prepared() && rows.iter().any(|params| !params.is_empty()) {
            return Err(guard::refused("this kind of statement has no parameters: write the values into it"));
        }
        let with = Statement { sql: sql.to_owned(), kind, rows };
        self.with(operation, with, |door, statement| Box::pin(run(door, statement))).await
    }

    async fn end_with(mut self, operation: &'static str, work: Work<u64, ()>) -> Result<(), Error> {
        let limit = self.inner.bytes_per_user();
        let outcome = match self.is_forgotten.load(Ordering::Acquire) {
            false => self.with(operation, limit, work).await,
            // There is nothing left that could be kept.
            true => Ok(()),
        };
        if let Some(held) = self.held.take() {
            let given_back = self.inner.home().call(operation, async move {
                held.give_back().await;
                Ok(())
            });
            given_back.await?;
        }
        outcome
    }
}

#[async_trait]
impl DatabaseSession for PgSession {
    async fn execute(&mut self, sql: &str, params: &[SqlValue]) -> Result<u64, Error> {
        Ok(self.run("execute", sql, vec![params.to_vec()]).await?.changed)
    }

    async fn execute_many(&mut self, sql: &str, rows: &[Vec<SqlValue>]) -> Result<u64, Error> {
        Ok(self.run("execute", sql, rows.to_vec()).await?.changed)
    }

    async fn fetch(&mut self, sql: &str, params: &[SqlValue]) -> Result<Vec<SqlRow>, Error> {
        Ok(self.run("fetch", sql, vec![params.to_vec()]).await?.rows)
    }

    async fn commit(self: Box<Self>) -> Result<(), Error> {
        self.end_with("commit", |door, limit| Box::pin(door.commit(*limit))).await
    }

    async fn rollback(self: Box<Self>) -> Result<(), Error> {
        match self.end_with("roll back", |_, _| Box::pin(async { Ok(()) })).await {
            // A statement had taken everything back before.
            Err(Error::Statement { .. }) => Ok(()),
            outcome => outcome,
        }
    }
}

/// A statement, and the parameters of each time that it is executed.
struct Statement {
    sql: String,
    kind: Kind,
    rows: Vec<Vec<SqlValue>>,
}

struct Ran {
    changed: u64,
    rows: Vec<SqlRow>,
}

async fn run(door: &mut Door, statement: &Statement) -> Worked<Ran> {
    let Statement { sql, kind, rows } = statement;
    let has_params = rows.iter().any(|params| !params.is_empty());
    let (changed, rows) = if kind.can_be_prepared() && (has_params || rows.len() != 1 || !guard::is_one(sql)) {
        run_prepared(door, sql, rows).await?
    } else if guard::is_one(sql) {
        let (changed, rows) = door.send(sql.clone()).await?;
        (changed, rows.into_rows())
    } else {
        let (changed, rows) = door.send_one(sql.clone()).await?;
        (changed, rows.into_rows())
    };
    Ok(Ran { changed: if *kind == Kind::Change { changed } else { 0 }, rows })
}

async fn run_prepared(door: &mut Door, sql: &str, rows: &[Vec<SqlValue>]) -> Worked<(u64, Vec<SqlRow>)> {
    let name = door.prepare(sql).await?;
    let (mut changed, mut found, mut message) = (0, Vec::new(), String::new());
    for (n, params) in rows.iter().enumerate() {
        message.push_str("EXECUTE ");
        message.push_str(&name);
        for (n, value) in params.iter().enumerate() {
            message.push_str(if n == 0 { "(" } else { ", " });
            values::write(value, &mut message);
        }
        message.push_str(if params.is_empty() { ";" } else { ");" });
        if n + 1 == rows.len() || message.len() > MESSAGE_BYTES {
            let (more, rows) = door.send(std::mem::take(&mut message)).await?;
            changed += more;
            found = rows.into_rows();
        }
    }
    door.send(format!("DEALLOCATE {name}")).await?;
    Ok((changed, found))
}

/// What is left of the session: a transaction whose statement the server refused can still be rolled back in parts.
async fn settle<T>(operation: &'static str, held: Held, outcome: Option<Worked<T>>) -> After<T> {
    match outcome {
        Some(Ok(answer)) => (Some(held), Ok(answer)),
        Some(Err(Stop::Failed(error))) if error.as_database_error().is_some() => {
            let error = refused(&held.inner, operation, error);
            (Some(held), Err(error))
        }
        Some(Err(stop)) => {
            let error = held.inner.shared().server.stop(operation, stop);
            held.stop().await;
            (None, Err(error))
        }
        None => {
            held.stop().await;
            (None, Err(error::gone(operation)))
        }
    }
}

/// Whose fault it is: the statement's, or the server's.
fn refused(inner: &Inner, operation: &'static str, error: sqlx::Error) -> Error {
    let Some(said) = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()) else {
        return inner.shared().server.error(operation, error);
    };
    match said.code() {
        "57014" => Error::Timeout { operation, after: STATEMENT },
        "40001" | "40P01" | "55P03" | "53200" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
            let source: Source = Arc::new(error);
            Error::Unavailable { operation, component: "Postgres", source: Some(source) }
        }
        "53100" => inner.shared().server.error(operation, error),
        "25P02" => ended(),
        _ => Error::Statement { message: words(said) },
    }
}

fn words(said: &PgDatabaseError) -> String {
    let mut words = said.message().to_owned();
    for more in [said.detail(), said.hint()].into_iter().flatten() {
        words.push_str(": ");
        words.push_str(more);
    }
    words
}

fn ended() -> Error {
    guard::refused("the transaction has ended: an earlier statement broke it, nothing of it is kept")
}

impl fmt::Debug for PgSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgSession").field("is_open", &self.held.is_some()).finish_non_exhaustive()
    }
}
