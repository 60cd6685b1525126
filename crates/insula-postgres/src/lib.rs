//! Every port of [`insula_infra`] on Postgres, for several nodes on one database.

mod budgets;
mod connect;
mod error;
mod home;
mod migrations;
mod owners;
mod store;
mod transaction;
mod usage;
mod webhooks;
mod writer;

pub use migrations::{SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
