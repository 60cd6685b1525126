//! What a server needs besides runs, with the same leak.

use std::time::Duration;

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};

use super::Leak;
use crate::{
    Attempt, AuditLog, AuditRecord, Error, KeyRecord, KeyStore, NewAuditEntry, Page, PageRequest, UsageRow, UsageStore,
    WebhookRecord, WebhookState, Webhooks,
};

/// Whose key it is must be right, or nobody would be let in: only what an owner may see and revoke is not.
#[async_trait]
impl KeyStore for Leak {
    async fn add_key(&self, key: KeyRecord) -> Result<(), Error> {
        self.inner.keys.add_key(key).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        self.inner.keys.key(id).await
    }

    async fn keys(&self, _: Option<&UserScope>, page: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        self.inner.keys.keys(None, page).await
    }

    async fn key_used(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        self.inner.keys.key_used(id, at).await
    }

    async fn revoke_key(&self, _: Option<&UserScope>, id: &str, at: Timestamp) -> Result<Option<KeyRecord>, Error> {
        self.inner.keys.revoke_key(None, id, at).await
    }
}

#[async_trait]
impl AuditLog for Leak {
    async fn add_audit(&self, _: &UserScope, entry: NewAuditEntry) -> Result<AuditRecord, Error> {
        self.inner.audit.add_audit(&self.everyone, entry).await
    }

    async fn audit(&self, _: &UserScope, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Error> {
        self.inner.audit.audit(&self.everyone, after, limit).await
    }

    async fn audited(&self, after: Option<&UserScope>, limit: usize) -> Result<Vec<UserScope>, Error> {
        self.inner.audit.audited(after, limit).await
    }
}

#[async_trait]
impl Webhooks for Leak {
    async fn due_webhooks(&self, hold: Duration, max: usize) -> Result<Vec<WebhookRecord>, Error> {
        self.inner.webhooks.due_webhooks(hold, max).await
    }

    async fn settle_webhook(&self, _: &UserScope, run: &RunId, attempt: Attempt) -> Result<(), Error> {
        self.inner.webhooks.settle_webhook(&self.everyone, run, attempt).await
    }

    async fn webhooks(
        &self,
        _: &UserScope,
        state: Option<WebhookState>,
        page: &PageRequest,
    ) -> Result<Page<WebhookRecord>, Error> {
        self.inner.webhooks.webhooks(&self.everyone, state, page).await
    }

    async fn resend_webhook(&self, _: &UserScope, run: &RunId) -> Result<Option<WebhookRecord>, Error> {
        self.inner.webhooks.resend_webhook(&self.everyone, run).await
    }
}

#[async_trait]
impl UsageStore for Leak {
    async fn usage(&self, _: &UserScope, from: i64, to: i64) -> Result<Vec<UsageRow>, Error> {
        self.inner.usage.usage(&self.everyone, from, to).await
    }
}
