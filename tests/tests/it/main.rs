//! The promises, as suites that drive the real product through its public API. One module per promise.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise, plays the authenticator, and says what it measured"
)]

mod support;

mod archive;
mod cli;
mod context;
mod cost;
mod durability;
mod engine;
mod events;
mod example;
mod factory;
mod failure;
mod isolation;
mod limits;
mod mutants;
mod pipelines;
mod queue;
mod registry;
mod server;
mod storage;
mod tools;
