//! An event is durable before anyone is told of it, and everyone is told of everything of theirs.

mod bridge;
mod durable;
mod envelope;
mod order;
mod readers;
mod secrets;
