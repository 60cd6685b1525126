//! A transaction that has said whose rows it is about. The only way to a statement on a table with owners.

use insula_context::UserScope;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Postgres, pool::PoolConnection};

use crate::error::{Server, Worked};

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It sees one state of everything, and writes nothing.
    Read,
    /// It locks what it changes.
    Write,
    /// As `Write`, and its commit does not wait for the disk: what builds on it is durable only together with it.
    WriteAhead,
}

/// An open transaction. Dropped before it is committed, it is rolled back when its connection goes back.
#[derive(Debug)]
pub(crate) struct Tx {
    connection: PoolConnection<Postgres>,
    /// The owner it is about first.
    pub(crate) owner: i64,
    pub(crate) server: Server,
}

impl Tx {
    /// Begins, and enters the owners, in one round trip. Numbers only, so nothing of a user is in the statement.
    pub(crate) async fn begin(
        mut connection: PoolConnection<Postgres>,
        server: Server,
        kind: Kind,
        owners: &[i64],
    ) -> sqlx::Result<Self> {
        let begin = match kind {
            Kind::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Kind::Write => "BEGIN",
            Kind::WriteAhead => "BEGIN; SET LOCAL synchronous_commit = off",
        };
        let statement = format!("{begin}; {}", enter(owners));
        (&mut *connection).execute(AssertSqlSafe(statement)).await?;
        Ok(Self { connection, owner: owners.first().copied().unwrap_or(0), server })
    }

    /// Also enters these, in the same transaction: those whom a function has named.
    pub(crate) async fn enter(&mut self, owners: &[i64]) -> sqlx::Result<()> {
        (&mut *self.connection).execute(AssertSqlSafe(enter(owners))).await.map(|_| ())
    }

    /// The connection, inside the transaction.
    pub(crate) fn on(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Makes everything durable, and gives the connection back to be used again.
    pub(crate) async fn commit(mut self) -> sqlx::Result<PoolConnection<Postgres>> {
        (&mut *self.connection).execute("COMMIT").await?;
        Ok(self.connection)
    }

    /// Takes everything back, and gives the connection back to be used again.
    pub(crate) async fn roll_back(mut self) -> sqlx::Result<PoolConnection<Postgres>> {
        (&mut *self.connection).execute("ROLLBACK").await?;
        Ok(self.connection)
    }

    pub(crate) fn corrupt<T>(&self, what: &str, scope: &UserScope) -> Worked<T> {
        Err(self.server.corrupt(format!("{what} of {scope}"), "it is damaged").into())
    }
}

fn enter(owners: &[i64]) -> String {
    let numbers: Vec<String> = owners.iter().map(i64::to_string).collect();
    format!("SELECT set_config('insula.owners', '{{{}}}', true)", numbers.join(","))
}
