//! Every port of [`insula_infra`] on Postgres, for several nodes on one database.

mod after;
mod ahead;
mod answer;
mod append;
mod asked;
mod backend;
mod budgets;
mod cancel;
mod claim;
mod connect;
mod delete;
mod error;
mod group;
mod home;
mod journal;
mod list;
mod log;
mod migrations;
mod news;
mod owners;
mod payloads;
mod questions;
mod queue;
mod rows;
mod runs;
mod signals;
mod store;
mod submit;
mod threads;
mod transaction;
mod usage;
mod webhooks;
mod writer;

pub use backend::{Options, PostgresBackend};
pub use migrations::{SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
