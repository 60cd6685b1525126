//! What agents remember: small values by key, with compare-and-set.

use async_trait::async_trait;
use insula_context::{RunId, ThreadId, UserScope};

use crate::{Error, RawJson};

/// How far a value reaches. Never beyond its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StateSpace {
    /// This run only.
    Run(RunId),
    /// All runs of this thread.
    Thread(ThreadId),
    /// Everything of this user.
    User,
    /// All runs of this agent class by this user.
    Agent(String),
}

/// Where a value is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateKey {
    /// How far it reaches.
    pub space: StateSpace,
    /// Its name there.
    pub name: String,
}

/// A value and its version.
#[derive(Debug, Clone)]
pub struct Versioned {
    /// The value.
    pub value: RawJson,
    /// 1 after the first write, one more with every write.
    pub version: u64,
}

/// A user's state.
#[async_trait]
pub trait StateStore: Send + Sync {
    /// The value at a key.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn get(&self, scope: &UserScope, key: &StateKey) -> Result<Option<Versioned>, Error>;

    /// Writes whatever is there, and says the new version.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn put(&self, scope: &UserScope, key: &StateKey, value: RawJson) -> Result<u64, Error>;

    /// Writes only if the version is still the expected one (`None`: absent), and says the new version.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is not.
    async fn compare_and_set(
        &self,
        scope: &UserScope,
        key: &StateKey,
        expected: Option<u64>,
        value: RawJson,
    ) -> Result<u64, Error>;

    /// Removes a value and says whether there was one.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn delete(&self, scope: &UserScope, key: &StateKey) -> Result<bool, Error>;
}
