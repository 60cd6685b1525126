//! A connection that can do nothing but what one owner's agents may do.

use std::time::Duration;

use futures::TryStreamExt;
use insula_infra::Error;
use sqlx::{AssertSqlSafe, Connection, Either, Executor, PgConnection, Row};

use crate::{
    connect::{ACQUIRE, Address, STATEMENT},
    error::{self, Worked},
    store::Shared,
    transaction::{Kind, Tx},
    values::Rows,
};

/// How long one message to the server may take. An agent may set the server's own limit as it likes, but not this one.
pub(crate) const CALL: Duration = STATEMENT.saturating_add(Duration::from_secs(5));

/// How long an agent may think in the middle of a transaction.
const IDLE: Duration = Duration::from_secs(600);

/// How long a connection may take to be made fit for the next session.
const TIDY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) connection: PgConnection,
    pub(crate) owner: i64,
    /// The server's process, to end what it is doing.
    pid: i32,
    /// Prepared statements so far: each has a name of its own.
    prepared: u64,
    /// How large the owner's tables were when the transaction began.
    size: u64,
}

/// How a role logs in: asked for each time, so the password is nowhere but on the server.
struct Key {
    role: String,
    password: String,
}

impl Door {
    /// Logs in. The role and the schema are made if this is the first time.
    pub(crate) async fn open(shared: &Shared, address: &Address, owner: i64, most: i32) -> Result<Self, Error> {
        const LOG_IN: &str = "log in for an owner's agents";
        let key = key(shared, owner, most, Password::Kept).await?;
        let logged_in = match log_in(address, owner, key).await {
            // An agent has changed it.
            Err(error) if is_wrong(&error) => log_in(address, owner, key_again(shared, owner, most).await?).await,
            outcome => outcome,
        };
        logged_in.map_err(|error| shared.server.error(LOG_IN, error))
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self) -> Worked<()> {
        let (_, size) = self.send_and_measure("BEGIN; SELECT insula_agents.size() AS size").await?;
        self.size = size;
        Ok(())
    }

    /// Commits, unless the owner's tables have grown past the limit. Of a broken transaction nothing is measured, and so
    /// nothing committed.
    pub(crate) async fn commit(&mut self, limit: u64) -> Worked<()> {
        let (_, size) = self.send_and_measure("SELECT insula_agents.size() AS size").await?;
        if size > limit && size > self.size {
            return Err(Error::TooLarge { what: "the user's database", size, limit }.into());
        }
        self.send("COMMIT".to_owned()).await.map(|_| ())
    }

    async fn send_and_measure(&mut self, sql: &str) -> Worked<(u64, u64)> {
        let (changed, rows) = self.send(sql.to_owned()).await?;
        let size = rows.into_rows().first().and_then(|row| row.integer("size")).unwrap_or(i64::MAX);
        Ok((changed, u64::try_from(size).unwrap_or(0)))
    }

    /// Sends statements as text, and takes what comes back as text.
    pub(crate) async fn send(&mut self, sql: String) -> Worked<(u64, Rows)> {
        let answer = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_many(&mut self.connection);
        in_time(gather(answer)).await
    }

    /// Sends exactly one statement: the server refuses a second one behind it.
    pub(crate) async fn send_one(&mut self, sql: String) -> Worked<(u64, Rows)> {
        let answer = self.connection.fetch_many(sqlx::query(AssertSqlSafe(sql)).persistent(false));
        in_time(gather(answer)).await
    }

    /// Has the server look at one statement with parameters. Returns the name by which it is executed.
    pub(crate) async fn prepare(&mut self, sql: &str) -> Worked<String> {
        self.prepared += 1;
        let name = format!("insula_{}", self.prepared);
        self.send_one(format!("PREPARE {name} AS {sql}")).await?;
        Ok(name)
    }

    /// Takes back what is open and whatever was set, so that the next session of the owner finds none of it.
    pub(crate) async fn tidy(&mut self) -> bool {
        let tidying = async {
            self.connection.execute("ROLLBACK").await?;
            self.connection.clear_cached_statements().await?;
            self.connection.execute("DISCARD ALL").await
        };
        matches!(tokio::time::timeout(TIDY, tidying).await, Ok(Ok(_)))
    }

    /// Ends whatever the connection is doing, on the server too: one that is only closed goes on until the server looks.
    pub(crate) async fn stop(self, shared: &Shared) {
        let stopped = shared.transact("end a session", Kind::Write, &[self.owner], &self.pid, stop).await;
        if let Err(error) = stopped {
            tracing::warn!(%error, "a session of an owner's agents was not ended, the server will notice by itself");
        }
    }
}

async fn gather(
    mut answer: impl futures::Stream<Item = sqlx::Result<Either<sqlx::postgres::PgQueryResult, sqlx::postgres::PgRow>>>
    + Unpin,
) -> Worked<(u64, Rows)> {
    let (mut changed, mut rows) = (0, Rows::default());
    while let Some(part) = answer.try_next().await? {
        match part {
            Either::Left(done) => changed += done.rows_affected(),
            Either::Right(row) => rows.take(&row)?,
        }
    }
    Ok((changed, rows))
}

async fn in_time<T>(work: impl Future<Output = Worked<T>>) -> Worked<T> {
    match tokio::time::timeout(CALL, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(error::timeout("execute", CALL).into()),
    }
}

async fn log_in(address: &Address, owner: i64, key: Key) -> sqlx::Result<Door> {
    const WHO: &str = "SELECT pg_catalog.pg_backend_pid()";
    let database = address.options.get_database().unwrap_or_else(|| address.options.get_username()).to_owned();
    let options = address
        .options
        .clone()
        .username(&key.role)
        .password(&key.password)
        .database(&database)
        .application_name("insula agent")
        .options(settings(owner));
    let connecting = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        let pid = sqlx::query_scalar(WHO).persistent(false).fetch_one(&mut connection).await?;
        Ok(Door { connection, owner, pid, prepared: 0, size: 0 })
    };
    tokio::time::timeout(ACQUIRE, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// What a session begins with, whatever its role has set for itself.
fn settings(owner: i64) -> [(&'static str, String); 9] {
    let millis = |time: Duration| time.as_millis().to_string();
    [
        ("search_path", format!("u_{owner}")),
        ("statement_timeout", millis(STATEMENT)),
        ("lock_timeout", millis(STATEMENT / 2)),
        ("idle_in_transaction_session_timeout", millis(IDLE)),
        ("client_connection_check_interval", "1000".to_owned()),
        ("bytea_output", "hex".to_owned()),
        ("intervalstyle", "iso_8601".to_owned()),
        ("default_transaction_read_only", "off".to_owned()),
        ("default_transaction_isolation", "read committed".to_owned()),
    ]
}

fn is_wrong(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
    matches!(code.as_deref(), Some("28P01" | "28000"))
}

/// Whether a role gets another password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Password {
    Kept,
    Renewed,
}

async fn key(shared: &Shared, owner: i64, most: i32, password: Password) -> Result<Key, Error> {
    const OPERATION: &str = "open an owner's agents' door";
    shared.transact(OPERATION, Kind::Write, &[owner], &(most, password), |tx, with| Box::pin(ask(tx, *with))).await
}

async fn key_again(shared: &Shared, owner: i64, most: i32) -> Result<Key, Error> {
    key(shared, owner, most, Password::Renewed).await
}

async fn ask(tx: &mut Tx, (most, password): (i32, Password)) -> Worked<Key> {
    const DOOR: &str = "SELECT door_role, door_password FROM insula.agent_door($1, $2, $3)";
    let renew = password == Password::Renewed;
    let found = sqlx::query(DOOR).bind(tx.owner).bind(most).bind(renew).fetch_one(tx.on()).await?;
    Ok(Key { role: found.try_get(0)?, password: found.try_get(1)? })
}

fn stop<'t>(tx: &'t mut Tx, pid: &'t i32) -> futures::future::BoxFuture<'t, Worked<()>> {
    const STOP: &str = "SELECT insula.stop_agent($1, $2)";
    Box::pin(async move {
        sqlx::query(STOP).bind(tx.owner).bind(*pid).execute(tx.on()).await?;
        Ok(())
    })
}

/// Deletes an owner's schema and role. Nobody may log in any more before those who are logged in are ended.
pub(crate) async fn forget(shared: &Shared, owner: i64) -> Result<(), Error> {
    const OPERATION: &str = "delete a database";
    const FORGET: &str = "SELECT insula.forget_agent($1)";
    close(shared, owner).await?;
    shared
        .transact(OPERATION, Kind::Write, &[owner], &(), |tx, ()| {
            Box::pin(async move {
                sqlx::query(FORGET).bind(tx.owner).execute(tx.on()).await?;
                Ok(())
            })
        })
        .await
}

async fn close(shared: &Shared, owner: i64) -> Result<(), Error> {
    const CLOSE: &str = "SELECT insula.close_agent($1)";
    shared
        .transact("close a database", Kind::Write, &[owner], &(), |tx, ()| {
            Box::pin(async move {
                sqlx::query(CLOSE).bind(tx.owner).execute(tx.on()).await?;
                Ok(())
            })
        })
        .await
}
