//! Audit logs. They outlive everything else of their user, and nothing is ever taken out of one.

use std::{collections::BTreeMap, ops::Bound, sync::Mutex};

use async_trait::async_trait;
use insula_context::UserScope;

use super::shard::lock;
use crate::{AuditLog, AuditRecord, Error, NewAuditEntry};

/// The audit logs of all users.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<UserScope, Vec<AuditRecord>>>);

#[async_trait]
impl AuditLog for Ledger {
    async fn add_audit(&self, scope: &UserScope, entry: NewAuditEntry) -> Result<AuditRecord, Error> {
        let mut logs = lock(&self.0);
        let log = logs.entry(scope.clone()).or_default();
        let (number, before) = (log.len() as u64 + 1, log.last().map_or("", |last| &last.hash));
        let hash = AuditRecord::chained(before, scope, number, &entry);
        let NewAuditEntry { at, action, detail } = entry;
        let record = AuditRecord { number, at, action, detail, hash };
        log.push(record.clone());
        Ok(record)
    }

    async fn audit(&self, scope: &UserScope, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Error> {
        let logs = lock(&self.0);
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        let entries = logs.get(scope).into_iter().flatten();
        Ok(entries.skip(after).take(limit).cloned().collect())
    }

    async fn audited(&self, after: Option<&UserScope>, limit: usize) -> Result<Vec<UserScope>, Error> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(lock(&self.0).range((from, Bound::Unbounded)).take(limit).map(|(scope, _)| scope.clone()).collect())
    }
}
