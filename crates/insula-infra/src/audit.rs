//! What the log of runs does not say: who was let in, who was refused, what was taken away. Append only; each entry carries
//! a hash over the one before it, so that nobody takes one out or changes one unseen.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// What was found when an audit log was verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Entries that are as they were written, from the first on.
    pub entries: u64,
    /// The number of the first entry that is not, or before which one is missing. Nothing behind it was looked at.
    pub broken: Option<u64>,
}

/// Reads a user's audit log from the beginning, page by page, and checks every number and every hash.
///
/// Entries that were taken away from the end leave no trace in what is left: who must notice that keeps the number and the
/// hash of the last one in another place.
///
/// # Errors
/// When the store does not answer.
pub async fn verify(log: &dyn AuditLog, scope: &UserScope) -> Result<Verified, Error> {
    let mut chain = Chain::default();
    loop {
        let page = log.audit(scope, chain.entries, PAGE).await?;
        if page.is_empty() {
            return Ok(Verified { entries: chain.entries, broken: None });
        }
        for record in page {
            let number = record.number;
            if !chain.takes(scope, record) {
                return Ok(Verified { entries: chain.entries, broken: Some(number) });
            }
        }
    }
}

/// Entries that are verified at a time.
const PAGE: usize = 500;

/// An audit log, as far as it is verified: for whoever reads it from somewhere else than a store.
#[derive(Debug, Default)]
pub struct Chain {
    entries: u64,
    hash: String,
}

impl Chain {
    /// How many entries were taken; the number of the last one.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Whether this is the next entry. It is the last one then.
    pub fn takes(&mut self, scope: &UserScope, record: AuditRecord) -> bool {
        let AuditRecord { number, at, action, detail, hash } = record;
        let entry = NewAuditEntry { at, action, detail };
        let follows = number == self.entries + 1 && hash == AuditRecord::chained(&self.hash, scope, number, &entry);
        if follows {
            (self.entries, self.hash) = (number, hash);
        }
        follows
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::MemoryBackend;

    /// A log as somebody may have left it who could write to the store.
    struct Left(Vec<AuditRecord>);

    #[async_trait]
    impl AuditLog for Left {
        async fn add_audit(&self, _: &UserScope, _: NewAuditEntry) -> Result<AuditRecord, Error> {
            unreachable!("it is only read")
        }

        async fn audit(&self, _: &UserScope, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Error> {
            Ok(self.0.iter().filter(|record| record.number > after).take(limit).cloned().collect())
        }

        async fn audited(&self, _: Option<&UserScope>, _: usize) -> Result<Vec<UserScope>, Error> {
            unreachable!("it is only read")
        }
    }

    fn scope(user: &str) -> UserScope {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        insula_context::ScopeIssuer::new().issue("acme", user).expect("valid")
    }

    fn entry(action: &str, detail: &str) -> NewAuditEntry {
        let detail = RawValue::from_string(detail.to_owned()).expect("JSON").into();
        NewAuditEntry { at: Timestamp::from_micros(7), action: action.to_owned(), detail }
    }

    async fn written() -> Vec<AuditRecord> {
        let log = MemoryBackend::new().into_backend().audit;
        for n in 0..PAGE + 3 {
            log.add_audit(&scope("ada"), entry("key.made", &n.to_string())).await.expect("is written");
        }
        log.audit(&scope("ada"), 0, usize::MAX).await.expect("is read")
    }

    async fn found(log: Vec<AuditRecord>) -> Verified {
        verify(&Left(log), &scope("ada")).await.expect("is read")
    }

    #[tokio::test]
    async fn a_whole_log_is_verified_to_its_end() {
        assert_eq!(found(written().await).await, Verified { entries: PAGE as u64 + 3, broken: None });
        assert_eq!(found(Vec::new()).await, Verified::default());
    }

    #[tokio::test]
    async fn whatever_is_changed_taken_out_put_in_or_moved_is_found() {
        type Tamper = fn(&mut Vec<AuditRecord>);
        let tampers: [(Tamper, u64); 7] = [
            (|log| log[4].action = "key.used".to_owned(), 5),
            (|log| log[4].detail = entry("", "\"other\"").detail, 5),
            (|log| log[4].at = Timestamp::from_micros(8), 5),
            (|log| log[4].hash = log[3].hash.clone(), 5),
            (|log| drop(log.remove(4)), 6),
            (|log| (log[4].detail, log[5].detail) = (log[5].detail.clone(), log[4].detail.clone()), 5),
            (|log| drop(log.remove(PAGE)), PAGE as u64 + 2),
        ];
        for (n, (tamper, broken)) in tampers.into_iter().enumerate() {
            let mut log = written().await;
            tamper(&mut log);
            assert_eq!(found(log).await.broken, Some(broken), "tamper {n}");
        }
    }

    #[tokio::test]
    async fn an_entry_whose_hash_was_made_again_breaks_the_next_one() {
        let mut log = written().await;
        let changed = entry("key.made", "\"nothing happened\"");
        log[4].hash = AuditRecord::chained(&log[3].hash, &scope("ada"), 5, &changed);
        log[4].detail = changed.detail;
        assert_eq!(found(log).await, Verified { entries: 5, broken: Some(6) });
    }

    #[tokio::test]
    async fn another_users_log_is_not_taken_for_this_ones() {
        let verified = verify(&Left(written().await), &scope("bob")).await.expect("is read");
        assert_eq!(verified, Verified { entries: 0, broken: Some(1) });
    }
}
