//! What a rule is tried on.

use std::{any::Any, sync::Arc, time::Duration};

use insula_context::{Clock, ScopeIssuer, ThreadId, Timestamp, UserScope};

use super::ManualClock;
use crate::{Backend, DatabaseSessionManager, RedisManager};

/// A fresh backend, the clock that it counts by, and whatever has to live as long as it does. Cheap to clone.
#[derive(Clone)]
pub struct Subject {
    /// The backend, with nothing in it.
    pub backend: Backend,
    /// The clock that the backend was given.
    pub clock: Arc<ManualClock>,
    kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl Subject {
    /// A backend that counts by this clock.
    pub fn new(backend: Backend, clock: Arc<ManualClock>) -> Self {
        Self { backend, clock, kept: None }
    }

    /// Keeps a value until the rule has been tried, the folder of a database for example.
    #[must_use]
    pub fn keeping(self, kept: impl Any + Send + Sync) -> Self {
        Self { kept: Some(Arc::new(kept)), ..self }
    }

    /// The same subject with another backend in front of it.
    #[must_use]
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// The scope of a user of the tenant `acme`.
    pub fn user(&self, name: &str) -> UserScope {
        scope("acme", name)
    }

    /// The user whom most rules are about.
    pub fn ada(&self) -> UserScope {
        self.user("ada")
    }

    /// Those who must not meet Ada: another user of her tenant, her namesake in another tenant, and one whose names
    /// run into one another as hers do.
    pub fn others(&self) -> [UserScope; 3] {
        [self.user("bob"), scope("globex", "ada"), scope("ac", "meada")]
    }

    /// The cache; a backend without one does not claim to keep its rules.
    pub(super) fn cache(&self) -> Arc<dyn RedisManager> {
        self.backend.cache.clone().expect("rules of the cache are tried on a backend that has one")
    }

    /// The database; a backend without one does not claim to keep its rules.
    pub(super) fn database(&self) -> Arc<dyn DatabaseSessionManager> {
        self.backend.database.clone().expect("rules of the database are tried on a backend that has one")
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Moves the clock on.
    pub(super) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subject").field("backend", &self.backend).field("kept", &self.kept.is_some()).finish()
    }
}

pub(super) fn scope(tenant: &str, user: &str) -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "the suite plays the authenticator")]
    let issuer = ScopeIssuer::new();
    issuer.issue(tenant, user).expect("a valid scope")
}

pub(super) fn thread(name: &str) -> ThreadId {
    ThreadId::new(name).expect("a valid thread id")
}

/// Waits for something that has to come. Half a minute is not a measure of anything: it ends a hopeless wait.
pub(super) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(30), wait).await {
        Ok(found) => found,
        Err(_) => panic!("{what} did not come"),
    }
}
