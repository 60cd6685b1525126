//! A user's account: keys, what was written down, what was used, who is told. And what operators see of all.

use std::time::Duration;

use async_trait::async_trait;
use insula_client::{Json, Page};
use insula_context::{RunId, UserScope};
use insula_infra::{WebhookState, audit::Verified};
use insula_server::auth::Role;
use serde::Serialize;

use crate::exit::Stop;

/// A user by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub tenant: String,
    pub user: String,
}

/// Whose things are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    Own,
    Of(Named),
    All,
}

/// A key that is wanted.
#[derive(Debug)]
pub(crate) struct KeyOrder {
    /// For somebody else.
    pub of: Option<Named>,
    pub name: String,
    /// Those that a user has, unless it says others.
    pub roles: Vec<Role>,
    pub reach: Reach,
    pub expires_in: Option<Duration>,
}

/// What a key may do with what it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    Read,
    /// As much as may be had.
    Whole,
}

/// What came of looking through somebody's audit log.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub tenant_id: String,
    pub user_id: String,
    #[serde(flatten)]
    pub verified: Verified,
}

impl Verdict {
    pub(super) fn of(scope: &UserScope, verified: Verified) -> Self {
        Self { tenant_id: scope.tenant().to_string(), user_id: scope.user().to_string(), verified }
    }
}

/// Everything about accounts that commands have done.
#[async_trait]
pub(crate) trait Account: Send + Sync {
    async fn keys(&self, whose: &Whose, most: usize) -> Result<Page, Stop>;

    /// The key in full: this answer alone shows it.
    async fn create_key(&self, order: KeyOrder) -> Result<Json, Stop>;

    /// Says how it stands then.
    async fn revoke_key(&self, whose: &Whose, id: &str) -> Result<Option<Json>, Stop>;

    /// Entries behind a number, oldest first, as `{items, next?}`.
    async fn audit(&self, after: u64, limit: usize) -> Result<Json, Stop>;

    /// Looks through whole audit logs.
    async fn verify(&self, whose: &Whose) -> Result<Vec<Verdict>, Stop>;

    /// By day and agent, from one day to another.
    async fn usage(&self, from: Option<&str>, to: Option<&str>) -> Result<Json, Stop>;

    async fn webhooks(&self, state: Option<WebhookState>, most: usize) -> Result<Page, Stop>;

    /// Makes a call again.
    async fn resend(&self, run: &RunId) -> Result<Option<Json>, Stop>;

    /// The processes that work on the queue, as `{items}`.
    async fn nodes(&self) -> Result<Json, Stop>;

    /// Counts and health of all.
    async fn overview(&self) -> Result<Json, Stop>;
}
