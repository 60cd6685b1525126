//! Keys that callers show to be let in. Works across owners, because a key says who its owner is: for whoever
//! authenticates callers, and for nobody else. Only a hash of what is secret is stored.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};

use crate::{Error, Page, PageRequest};

/// A key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public half of the key: what it is found by.
    pub id: String,
    /// Whoever shows it is this user.
    pub scope: UserScope,
    /// What its owner calls it.
    pub name: String,
    /// The SHA-256 of the secret half, which is random: nothing slower is needed.
    pub hash: [u8; 32],
    /// What it may be used for, in the words of whoever authenticates: the store does not read it.
    pub grants: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// It is worth nothing from this time on.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute or so.
    pub last_used_at: Option<Timestamp>,
    /// It is worth nothing since this time.
    pub revoked_at: Option<Timestamp>,
}

/// Keys of all users.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Adds a key. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::KeyExists`] when there is one of this id.
    async fn add_key(&self, key: KeyRecord) -> Result<(), Error>;

    /// The key of this id, whosever it is, and also when it is not worth anything any more.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error>;

    /// Keys, newest first: of one user, or of all.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn keys(&self, owner: Option<&UserScope>, page: &PageRequest) -> Result<Page<KeyRecord>, Error>;

    /// Notes that a key was used. A key that is not there, or was used later, stays as it is.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn key_used(&self, id: &str, at: Timestamp) -> Result<(), Error>;

    /// Makes a key worthless from now on: of this owner, or whosever it is. One that is worthless already stays as it is.
    /// Says how it stands then; `None` when there is no such key, or it is another owner's. Durable when it returns.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn revoke_key(&self, owner: Option<&UserScope>, id: &str, at: Timestamp) -> Result<Option<KeyRecord>, Error>;
}
