//! The agent server.

pub mod auth;
