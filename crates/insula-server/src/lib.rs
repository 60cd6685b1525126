//! The agent server.

pub mod webhooks;
