//! Postgres keeps every rule of the ports, and its own promises. Needs a server: `INSULA_TEST_POSTGRES`.

mod conformance;
mod look;
mod ports;
mod support;
