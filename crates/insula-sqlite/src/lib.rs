//! Every port of [`insula_infra`] on one SQLite file, durable and without a service: the default of an embedded Insula.
//!
//! ```
//! # async fn example(folder: &std::path::Path) -> Result<(), insula_infra::Error> {
//! use insula_context::ThreadId;
//! use insula_infra::Backend;
//! use insula_sqlite::SqliteBackend;
//!
//! let backend: Backend = SqliteBackend::open(folder.join("insula.db"))?.into_backend();
//! # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
//! # let ada = insula_context::ScopeIssuer::new().issue("acme", "ada").unwrap();
//! let nothing_yet = backend.log.thread_events(&ada, &ThreadId::new("t-1").unwrap(), 0, 100).await?;
//! assert!(nothing_yet.is_none());
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(example(folder.path())).unwrap();
//! ```
//!
//! One thread writes, in groups: an append waits for the commit that contains it, and what arrives during a commit joins
//! the next one. A few threads read, and never wait for the writer. Agents' own tables are not in this file: each user has
//! a file of the own in the folder beside it. The cache is the process's memory.
//!
//! Several processes may open the same file. Readers beside a running engine (`insula runs`, `insula tail`) cost it
//! nothing. A second writer waits for the first one's commit and goes on; leases and their tokens keep two engines from
//! working on the same run. News of threads does not cross processes: a reader in another one looks again.
//!
//! In reading order: [`Options`] and [`SqliteBackend`], then `migrations`, `writer` with `transaction` and `append`,
//! `after`, `ahead`, `claim`, `queue` with `submit`, `cancel` and `news`, `readers`, `log`, `runs` with `list`
//! and `threads`, `questions`, `schedules`, `budgets`, `usage`, `webhooks`, `census`, `keys`, `audit`, `delete` with `clear` and
//! `forget`, `state`, `quota`, `health`, and for agents' own tables `database`, `session` and `guard`.

mod after;
mod ahead;
mod append;
mod audit;
mod backend;
mod budgets;
mod cancel;
mod census;
mod claim;
mod clear;
mod connect;
mod database;
mod delete;
mod error;
mod forget;
mod guard;
mod health;
mod inbox;
mod keys;
mod list;
mod log;
mod migrations;
mod news;
mod payloads;
mod plans;
mod questions;
mod queue;
mod quota;
mod readers;
mod rows;
mod runs;
mod schedules;
mod session;
mod state;
mod store;
mod submit;
#[cfg(test)]
mod tests;
mod threads;
mod transaction;
mod usage;
mod webhooks;
mod writer;

pub use backend::{Options, SqliteBackend, Synchronous};
pub use migrations::{SCHEMA_VERSION, SchemaStatus, schema_status};
pub use writer::Stats;
