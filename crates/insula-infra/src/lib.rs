//! Ports to storage and signals, the memory backend that reads them out loud, and the conformance suite that every
//! other backend must pass.
//!
//! Ports are split by authority. What takes a [`UserScope`](insula_context::UserScope) may be called by anyone who
//! holds one: [`RunStore`], [`Inbox`], [`EventLog`], [`StateStore`],
//! [`ScheduleStore`], [`Budgets`], [`UsageStore`], [`AuditLog`], [`RedisManager`], [`DatabaseSessionManager`], [`Quota`]. What
//! works across scopes is named as such: the [`RunQueue`] is for the engine alone, [`KeyStore`] for whoever authenticates,
//! [`Webhooks`] for whoever delivers, [`Census`] for operators, who get counts and nothing else. [`Signals`] are
//! best-effort and never the only copy of anything; the log is durable.
//!
//! ```
//! # async fn example() -> Result<(), insula_infra::Error> {
//! use insula_context::ThreadId;
//! use insula_infra::{MemoryBackend, Backend};
//!
//! let backend: Backend = MemoryBackend::new().into_backend();
//! # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
//! # let ada = insula_context::ScopeIssuer::new().issue("acme", "ada").unwrap();
//! let nothing_yet = backend.log.thread_events(&ada, &ThreadId::new("t-1").unwrap(), 0, 100).await?;
//! assert!(nothing_yet.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: [`event`] and [`run`] (what is stored), [`queue`], [`log`], [`runs`], [`inbox`],
//! [`schedules`], [`budgets`], [`state`], [`cache`],
//! [`database`], [`signals`], [`quota`], [`usage`], [`webhooks`], [`keys`], [`audit`], [`census`], [`health`] (the ports), [`backend`] (all of them together),
//! [`chunk`], [`pages`] and [`pool`] (what durable backends share), [`memory`] and,
//! with the feature of that name, `conformance`.

pub mod audit;
pub mod backend;
pub mod budgets;
pub mod cache;
pub mod census;
pub mod chunk;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod database;
mod error;
pub mod event;
pub mod health;
pub mod inbox;
pub mod keys;
pub mod log;
pub mod memory;
pub mod pages;
pub mod payload;
pub mod plans;
pub mod pool;
pub mod queue;
pub mod quota;
pub mod run;
pub mod runs;
pub mod schedules;
pub mod signals;
pub mod state;
pub mod usage;
pub mod webhooks;

pub use audit::{AuditLog, AuditRecord, NewAuditEntry, Verified};
pub use backend::Backend;
pub use budgets::{Allowance, Amounts, Balance, Budgets, Ceiling, Holder, Reservation, Reserved, Spent, Unit};
pub use cache::{CacheSubscription, RedisManager};
pub use census::{Census, Counts, NodeRecord};
pub use database::{DatabaseSession, DatabaseSessionManager};
pub use error::{Error, Source};
pub use event::{Event, EventType, NewEvent, RawJson, RunHeader};
pub use health::{ComponentHealth, Health, HealthCheck};
pub use inbox::{Answer, AnswerRequest, Inbox, NewQuestion, OpenQuestion};
pub use keys::{KeyRecord, KeyStore};
pub use log::{EventLog, EventPage};
pub use memory::MemoryBackend;
pub use payload::{Payload, PayloadHash};
pub use plans::PlanStore;
pub use queue::{Append, Claimed, Commit, Committed, JournalEntry, Lease, News, RunQueue, Submitted, WorkerId};
pub use quota::{Quota, RateLimit, Taken};
pub use run::{FailReason, Failure, NewRun, RunChange, RunRecord, RunStatus, ThreadPolicy, WaitFor};
pub use runs::{CancelRequest, Deleted, Fork, Page, PageRequest, RunFilter, RunStore, ThreadRecord};
pub use schedules::{ScheduleRecord, ScheduleStore};
pub use signals::{LocalSignals, Outlet, Signals, ThreadWatch};
pub use state::{StateKey, StateSpace, StateStore, Versioned};
pub use usage::{UsageRow, UsageStore};
pub use webhooks::{Attempt, WebhookRecord, WebhookState, Webhooks};
