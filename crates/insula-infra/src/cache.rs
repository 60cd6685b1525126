//! The scoped cache. Keys carry the scope: two users' same key are two values.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::UserScope;
use tokio::sync::broadcast;

use crate::Error;

/// A user's cache. "Down" is an error and "absent" is `None`: different answers.
#[async_trait]
pub trait RedisManager: Send + Sync {
    /// The value at a key.
    ///
    /// # Errors
    /// When the cache does not answer, or the key holds a list.
    async fn get(&self, scope: &UserScope, key: &str) -> Result<Option<Bytes>, Error>;

    /// Sets a value, for `ttl` when given.
    ///
    /// # Errors
    /// When the cache does not answer, or the value is larger than it accepts.
    async fn set(&self, scope: &UserScope, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), Error>;

    /// Removes a key and says whether there was one.
    ///
    /// # Errors
    /// When the cache does not answer.
    async fn delete(&self, scope: &UserScope, key: &str) -> Result<bool, Error>;

    /// Adds to a number (absent counts as 0) and says the sum. A remaining time to live is kept.
    ///
    /// # Errors
    /// When the cache does not answer, or the value is not a number.
    async fn increment(&self, scope: &UserScope, key: &str, by: i64) -> Result<i64, Error>;

    /// Appends to a list and says its length.
    ///
    /// # Errors
    /// When the cache does not answer, or the key holds a plain value.
    async fn push(&self, scope: &UserScope, key: &str, value: Bytes) -> Result<u64, Error>;

    /// Up to `count` entries of a list, from the one at `start` (0 is the oldest).
    ///
    /// # Errors
    /// When the cache does not answer, or the key holds a plain value.
    async fn range(&self, scope: &UserScope, key: &str, start: usize, count: usize) -> Result<Vec<Bytes>, Error>;

    /// Removes everything of this user: the user was deleted.
    ///
    /// # Errors
    /// When the cache does not answer.
    async fn clear(&self, scope: &UserScope) -> Result<(), Error>;

    /// Tells this user's subscribers of a channel. Nobody listening is not an error; nothing is kept.
    ///
    /// # Errors
    /// When the cache does not answer.
    async fn publish(&self, scope: &UserScope, channel: &str, message: Bytes) -> Result<(), Error>;

    /// Listens to one of this user's channels.
    ///
    /// # Errors
    /// When the cache does not answer.
    async fn subscribe(&self, scope: &UserScope, channel: &str) -> Result<CacheSubscription, Error>;
}

/// Messages of one channel. Best-effort: a listener that falls behind loses the oldest.
#[derive(Debug)]
pub struct CacheSubscription(broadcast::Receiver<Bytes>);

impl CacheSubscription {
    /// Wraps the receiving end.
    pub fn new(receiver: broadcast::Receiver<Bytes>) -> Self {
        Self(receiver)
    }

    /// The next message; `None` when the cache has gone. Cancellation safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.0.recv().await {
                Ok(message) => return Some(message),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
