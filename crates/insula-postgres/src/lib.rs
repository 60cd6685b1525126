//! Every port of [`insula_infra`] on Postgres, for several nodes on one database.

mod connect;
mod error;
mod home;
mod migrations;
mod owners;
mod store;
mod transaction;
mod writer;

pub use migrations::{SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
