//! Postgres keeps every rule of the ports, and its own promises. Needs a server: `INSULA_TEST_POSTGRES`.

mod agents;
mod conformance;
mod database;
mod deleting;
mod escapes;
mod look;
mod nodes;
mod ports;
mod reading;
mod story;
mod support;
mod walls;
