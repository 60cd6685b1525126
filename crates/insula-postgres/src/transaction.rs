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
    /// Everybody whose rows it may see.
    entered: Vec<i64>,
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
        let owner = owners.first().copied().unwrap_or(0);
        Ok(Self { connection, owner, server, entered: owners.to_vec() })
    }

    /// Also enters these, in the same transaction: those whom a function has named. Whoever was entered before stays so.
    pub(crate) async fn enter(&mut self, owners: &[i64]) -> sqlx::Result<()> {
        let before = self.entered.len();
        self.remember(owners.iter().copied());
        if self.entered.len() == before {
            return Ok(());
        }
        let statement = enter(&self.entered);
        (&mut *self.connection).execute(AssertSqlSafe(statement)).await.map(|_| ())
    }

    /// Enters owners by name (tenants and users, pairwise), in one round trip: their numbers, `None` for those who have none.
    /// A tenant itself, who has an account, is the user without a name.
    pub(crate) async fn enter_named(&mut self, tenants: &[&str], users: &[&str]) -> sqlx::Result<Vec<Option<i64>>> {
        const ENTER: &str = "SELECT n.numbers,
                set_config('insula.owners', (array_remove(n.numbers, NULL) || $3)::text, true)
            FROM (SELECT insula.numbers_of($1, $2) AS numbers OFFSET 0) n";
        let query = sqlx::query_as(ENTER).bind(tenants).bind(users).bind(&self.entered);
        let (numbers, _entered): (Vec<Option<i64>>, String) = query.fetch_one(&mut *self.connection).await?;
        self.remember(numbers.iter().copied().flatten());
        Ok(numbers)
    }

    fn remember(&mut self, owners: impl Iterator<Item = i64>) {
        for owner in owners {
            if !self.entered.contains(&owner) {
                self.entered.push(owner);
            }
        }
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

#[cfg(test)]
mod tests;
