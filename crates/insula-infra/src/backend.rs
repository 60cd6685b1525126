//! All ports of one backend together, to be handed to an engine.

use std::sync::Arc;

use crate::{
    AuditLog, Budgets, Census, DatabaseSessionManager, EventLog, HealthCheck, Inbox, KeyStore, PlanStore, Quota,
    RedisManager, RunQueue, RunStore, ScheduleStore, Signals, StateStore, UsageStore, Webhooks,
};

/// The ports that an engine needs, and those that it can do without. Cheap to clone.
#[derive(Clone)]
pub struct Backend {
    /// Runs of all users; for the engine alone.
    pub queue: Arc<dyn RunQueue>,
    /// A user's runs and threads.
    pub runs: Arc<dyn RunStore>,
    /// A user's open questions.
    pub inbox: Arc<dyn Inbox>,
    /// A user's schedules.
    pub schedules: Arc<dyn ScheduleStore>,
    /// What users and tenants may spend.
    pub budgets: Arc<dyn Budgets>,
    /// A user's events.
    pub log: Arc<dyn EventLog>,
    /// A user's state.
    pub state: Arc<dyn StateStore>,
    /// News of threads.
    pub signals: Arc<dyn Signals>,
    /// Rates per user.
    pub quota: Arc<dyn Quota>,
    /// What a user has used.
    pub usage: Arc<dyn UsageStore>,
    /// Keys of all users; for whoever authenticates.
    pub keys: Arc<dyn KeyStore>,
    /// What single users may have; for whoever admits them.
    pub plans: Arc<dyn PlanStore>,
    /// Who was let in, and who was refused.
    pub audit: Arc<dyn AuditLog>,
    /// Who is to be told of the ends of runs.
    pub webhooks: Arc<dyn Webhooks>,
    /// Counts over all users; for operators.
    pub census: Arc<dyn Census>,
    /// How the backend is.
    pub health: Arc<dyn HealthCheck>,
    /// A user's cache; without one, agents are told that it is unavailable.
    pub cache: Option<Arc<dyn RedisManager>>,
    /// A user's own database; without one, agents are told that it is unavailable.
    pub database: Option<Arc<dyn DatabaseSessionManager>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("cache", &self.cache.is_some())
            .field("database", &self.database.is_some())
            .finish_non_exhaustive()
    }
}
