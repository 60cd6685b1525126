//! What this crate promises beyond the conformance suite of its ports.

mod crash;
mod deletion;
mod durable;
mod groups;
mod log;
mod opening;
mod service;
mod sessions;
mod support;
