//! What the log of runs does not say: who was let in, who was refused, what was taken away. Append only; each entry carries
//! a hash over the one before it, so that nobody takes one out or changes one unseen.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{Error, RawJson};

/// Something to write down. No content and no secret belongs here.
#[derive(Debug, Clone)]
pub struct NewAuditEntry {
    /// When.
    pub at: Timestamp,
    /// What was done or tried, in a word with dots: `key.revoked`.
    pub action: String,
    /// The rest, as a JSON object: who, from where, on what, what came of it.
    pub detail: RawJson,
}

/// An entry as it is stored.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRecord {
    /// Its place in the user's audit log: 1, 2, 3, without gaps.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What was done or tried.
    pub action: String,
    /// The rest.
    pub detail: RawJson,
    /// The chained hash, in hexadecimal digits: see [`AuditRecord::chained`].
    pub hash: String,
}

impl AuditRecord {
    /// The hash that an entry of this user must have after one with the hash `before` (empty for the first): SHA-256 over
    /// the length and the bytes of `before`, tenant, user, number, time in microseconds, action and detail.
    pub fn chained(before: &str, scope: &UserScope, number: u64, entry: &NewAuditEntry) -> String {
        let (number, at) = (number.to_string(), entry.at.as_micros().to_string());
        let parts =
            [before, scope.tenant().as_str(), scope.user().as_str(), &number, &at, &entry.action, entry.detail.get()];
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A user's audit log.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Adds an entry at the end. Durable when it returns. The store chains it.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn add_audit(&self, scope: &UserScope, entry: NewAuditEntry) -> Result<AuditRecord, Error>;

    /// Up to `limit` entries of this user with `number > after`, in order.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn audit(&self, scope: &UserScope, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Error>;

    /// Whose audit logs there are, sorted, those behind `after`. For whoever verifies all of them.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn audited(&self, after: Option<&UserScope>, limit: usize) -> Result<Vec<UserScope>, Error>;
}
