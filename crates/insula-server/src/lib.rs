//! The agent server.

pub mod metrics;
pub mod webhooks;
