//! Every port of [`insula_infra`] on Postgres, for several nodes on one database.

mod audit;
mod budgets;
mod census;
mod connect;
mod error;
mod health;
mod home;
mod keys;
mod migrations;
mod owners;
mod plans;
mod quota;
mod schedules;
mod state;
mod store;
mod stored;
mod transaction;
mod usage;
mod webhooks;
mod writer;

pub use migrations::{SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
