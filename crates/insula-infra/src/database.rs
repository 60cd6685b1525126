//! An agent's own tables, in a database that belongs to one owner.

use async_trait::async_trait;
use insula_context::{SqlRow, SqlValue, UserScope};

use crate::Error;

/// Opens sessions, each bound to one scope.
#[async_trait]
pub trait DatabaseSessionManager: Send + Sync {
    /// A session on this owner's database, inside a transaction. Waits for a free connection as long as the pool's
    /// timeout allows.
    ///
    /// # Errors
    /// [`Error::Timeout`] when no connection became free, [`Error::Database`] when the database cannot be used.
    async fn open(&self, scope: &UserScope) -> Result<Box<dyn DatabaseSession>, Error>;

    /// Deletes this owner's database with everything in it: the user was deleted. A session that is open meanwhile ends
    /// with the tables that it sees, and nothing of it is kept. A later session finds an empty database.
    ///
    /// # Errors
    /// [`Error::Database`] when it cannot be deleted.
    async fn forget_user(&self, scope: &UserScope) -> Result<(), Error>;

    /// How many sessions are open now, over all owners.
    fn open_sessions(&self) -> usize;
}

/// One transaction on one owner's database. It ends with [`DatabaseSession::commit`]; dropped before that, it is rolled
/// back. Never shared.
#[async_trait]
pub trait DatabaseSession: Send {
    /// Runs one statement and says how many rows it changed.
    ///
    /// # Errors
    /// [`Error::Statement`] when the database refuses it; [`Error::DiskFull`], [`Error::Database`] when it cannot do it.
    async fn execute(&mut self, sql: &str, params: &[SqlValue]) -> Result<u64, Error>;

    /// Runs one statement once per row of parameters, in order, and says how many rows they changed in all.
    ///
    /// # Errors
    /// As [`DatabaseSession::execute`]; the first refusal ends it.
    async fn execute_many(&mut self, sql: &str, rows: &[Vec<SqlValue>]) -> Result<u64, Error>;

    /// Runs one query and returns its rows.
    ///
    /// # Errors
    /// As [`DatabaseSession::execute`].
    async fn fetch(&mut self, sql: &str, params: &[SqlValue]) -> Result<Vec<SqlRow>, Error>;

    /// Makes everything durable.
    ///
    /// # Errors
    /// When it could not; then nothing of the transaction is kept.
    async fn commit(self: Box<Self>) -> Result<(), Error>;

    /// Takes everything back, and waits until that is done.
    ///
    /// # Errors
    /// When the database could not be told; the transaction is gone all the same.
    async fn rollback(self: Box<Self>) -> Result<(), Error>;
}
