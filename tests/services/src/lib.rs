//! The services that tests run against, and a network that fails on request.
//!
//! [`Postgres`] is a database of a test's own on the server that `INSULA_TEST_POSTGRES` names. [`Redis`] is a part of the
//! server that `INSULA_TEST_REDIS` names, or a whole server that a test may stop and kill. [`Proxy`] stands between a
//! client and either of them. `cargo xtask test` starts the servers and sets the addresses; `cargo xtask services up`
//! does so for a session of one's own.
//!
//! Whatever goes wrong here is no result of the test: it panics, and says what to do.
#![warn(missing_docs)]

mod address;
mod postgres;
mod proxy;
mod redis;

pub use postgres::Postgres;
pub use proxy::{Fault, Proxy, Seen};
pub use redis::{Keeping, PrivateRedis, Redis};
