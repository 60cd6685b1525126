//! Every port of [`insula_infra`] on Postgres, for several nodes on one database.
//!
//! ```no_run
//! # async fn example() -> Result<(), insula_infra::Error> {
//! use insula_context::ThreadId;
//! use insula_infra::Backend;
//! use insula_postgres::{PostgresBackend, migrate};
//!
//! migrate("postgres://insula_owner@db.internal/insula").await?;
//! let backend: Backend = PostgresBackend::at("postgres://insula_app@db.internal/insula").connect().await?.into_backend();
//! # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
//! # let ada = insula_context::ScopeIssuer::new().issue("acme", "ada").unwrap();
//! let nothing_yet = backend.log.thread_events(&ada, &ThreadId::new("t-1").unwrap(), 0, 100).await?;
//! assert!(nothing_yet.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! Row-level security is the second wall between users: a transaction says whose rows it is about when it begins, and a
//! statement that forgot to say so would meet no others. A role that goes past it is refused. Appends, submissions, stops and
//! answers are written in groups, each group in one transaction. Agents' own tables have a schema and a role per user.
//!
//! The work runs on threads of its own: a call that is dropped loses its answer and not what it has begun.
//!
//! In reading order: [`Options`] and [`PostgresBackend`], then `migrations`, `connect`, `home`, `store` with `owners` and
//! `transaction`; `writer` with `group`, `append`, `after`, `ahead`, `asked`, `submit`, `cancel` and `answer`; `queue` with
//! `claim`, `news` and `journal`; `signals`; `log`, `runs` with `list` and `threads`, `questions`, `delete`; `schedules`, `budgets`,
//! `usage`, `webhooks`, `census`, `keys`, `plans`, `audit`, `state`, `quota`, `health`, `look`; and for agents' own tables `database`,
//! `door`, `guard`, `session` and `values`.

mod accounts;
mod after;
mod ahead;
mod answer;
mod append;
mod asked;
mod audit;
mod backend;
mod budgets;
mod cancel;
mod census;
mod claim;
mod connect;
mod database;
mod delete;
mod door;
mod error;
mod group;
mod guard;
mod health;
mod home;
mod journal;
mod keys;
mod list;
mod log;
mod look;
mod migrations;
mod news;
mod owners;
mod payloads;
mod plans;
mod questions;
mod queue;
mod quota;
mod rows;
mod runs;
mod schedules;
mod session;
mod signals;
mod state;
mod store;
mod stored;
mod submit;
mod threads;
mod transaction;
mod usage;
mod values;
mod webhooks;
mod writer;

pub use backend::{Options, PostgresBackend};
pub use look::{Finding, look};
pub use migrations::{SCHEMA_HASH, SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
pub use session::PgSession;
