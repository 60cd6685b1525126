//! State, database and cache as an agent sees them: bound to the run's owner, with no place for another name.

use std::time::Duration;

use async_trait::async_trait;
use insula_context::{SqlRow, SqlValue};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Error, Result};

/// How far a value of the state reaches. Never beyond the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// This run only.
    Run,
    /// All runs of this conversation.
    Thread,
    /// Everything of this user.
    User,
    /// All runs of this agent class by this user.
    Agent,
}

/// What agents remember.
#[async_trait]
pub trait State: Send + Sync {
    /// A value and its version.
    async fn get(&self, space: Space, name: &str) -> Result<Option<(Value, u64)>>;
    /// Writes whatever is there, and says the new version.
    async fn put(&self, space: Space, name: &str, value: &Value) -> Result<u64>;
    /// Writes only if the version is still the expected one; `None` when it is not.
    async fn compare_and_set(
        &self,
        space: Space,
        name: &str,
        expected: Option<u64>,
        value: &Value,
    ) -> Result<Option<u64>>;
    /// Removes a value and says whether there was one.
    async fn delete(&self, space: Space, name: &str) -> Result<bool>;
}

/// The state of one [`Space`], typed.
pub struct StateHandle<'a> {
    state: &'a dyn State,
    space: Space,
}

impl<'a> StateHandle<'a> {
    /// The values of one space.
    pub fn new(state: &'a dyn State, space: Space) -> Self {
        Self { state, space }
    }

    /// A value; `None` when there is none.
    ///
    /// # Errors
    /// When the store does not answer, or the value has another shape.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        Ok(self.versioned(name).await?.map(|(value, _)| value))
    }

    /// A value and its version, for [`StateHandle::compare_and_set`].
    ///
    /// # Errors
    /// As [`StateHandle::get`].
    pub async fn versioned<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(T, u64)>> {
        match self.state.get(self.space, name).await? {
            Some((value, version)) => Ok(Some((from_json(name, value)?, version))),
            None => Ok(None),
        }
    }

    /// Writes whatever is there.
    ///
    /// # Errors
    /// When the store does not answer, or the value has no JSON form.
    pub async fn set<T: Serialize + Sync>(&self, name: &str, value: &T) -> Result<u64> {
        self.state.put(self.space, name, &to_json(name, value)?).await
    }

    /// Writes only if the version is still the expected one (`None`: absent). `None` when it is not: read again.
    ///
    /// # Errors
    /// As [`StateHandle::set`].
    pub async fn compare_and_set<T: Serialize + Sync>(
        &self,
        name: &str,
        expected: Option<u64>,
        value: &T,
    ) -> Result<Option<u64>> {
        self.state.compare_and_set(self.space, name, expected, &to_json(name, value)?).await
    }

    /// Changes a value, again and again until nobody else wrote in between. `change` may be called several times.
    ///
    /// # Errors
    /// As [`StateHandle::get`] and [`StateHandle::set`].
    pub async fn update<T, F>(&self, name: &str, change: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned + Send + Sync,
        F: Fn(Option<T>) -> T + Send,
    {
        loop {
            let (current, version) = self.versioned(name).await?.unzip();
            let next = change(current);
            if self.compare_and_set(name, version, &next).await?.is_some() {
                return Ok(next);
            }
        }
    }

    /// Removes a value and says whether there was one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delete(&self, name: &str) -> Result<bool> {
        self.state.delete(self.space, name).await
    }
}

pub(crate) fn from_json<T: DeserializeOwned>(what: &str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::Shape { what: format!("\"{what}\""), problem: e.to_string() })
}

pub(crate) fn to_json<T: Serialize + ?Sized>(what: &str, value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::Shape { what: format!("\"{what}\""), problem: e.to_string() })
}

/// The owner's own database.
#[async_trait]
pub trait Database: Send + Sync {
    /// Begins a transaction. It counts only when it is committed; dropped before that, it is rolled back. End it before
    /// calling a model, a tool or another agent: connections are few.
    ///
    /// ```
    /// # use insula_agent::{Result, Session};
    /// # async fn example(session: &Session) -> Result<()> {
    /// let mut tx = session.database()?.begin().await?;
    /// tx.execute("CREATE TABLE IF NOT EXISTS notes (text TEXT)", &[]).await?;
    /// tx.execute("INSERT INTO notes VALUES ($1)", &["buy bread".into()]).await?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    async fn begin(&self) -> Result<Box<dyn Transaction>>;
}

/// A transaction on the owner's own database.
#[async_trait]
pub trait Transaction: Send {
    /// Runs one statement and says how many rows it changed.
    async fn execute(&mut self, sql: &str, params: &[SqlValue]) -> Result<u64>;
    /// Runs one statement once per row of parameters and says how many rows it changed in all.
    async fn execute_many(&mut self, sql: &str, rows: &[Vec<SqlValue>]) -> Result<u64>;
    /// Runs one query and returns its rows.
    async fn fetch(&mut self, sql: &str, params: &[SqlValue]) -> Result<Vec<SqlRow>>;
    /// Makes everything durable.
    async fn commit(self: Box<Self>) -> Result<()>;
    /// Takes everything back.
    async fn rollback(self: Box<Self>) -> Result<()>;
}

/// The owner's own part of the cache. What it holds may vanish at any time: it is never the only copy of anything.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The value at a key; `None` when it is absent, an error when the cache is down.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;
    /// Sets a value, for `ttl` when given.
    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()>;
    /// Removes a key and says whether there was one.
    async fn delete(&self, key: &str) -> Result<bool>;
    /// Adds to a number (absent counts as 0) and says the sum.
    async fn increment(&self, key: &str, by: i64) -> Result<i64>;
    /// Appends to a list and says its length.
    async fn push(&self, key: &str, value: Vec<u8>) -> Result<u64>;
    /// Up to `count` entries of a list, from the one at `start` (0 is the oldest).
    async fn range(&self, key: &str, start: usize, count: usize) -> Result<Vec<Vec<u8>>>;
    /// Tells this owner's listeners of a channel.
    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<()>;
    /// Listens to one of this owner's channels.
    async fn subscribe(&self, channel: &str) -> Result<Box<dyn CacheMessages>>;
}

/// Messages of one channel.
#[async_trait]
pub trait CacheMessages: Send {
    /// The next one; `None` when the cache has gone. A listener that falls behind loses the oldest.
    async fn next(&mut self) -> Option<Vec<u8>>;
}
