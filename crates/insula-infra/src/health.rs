//! Whether a backend can do its work now.

use async_trait::async_trait;
use serde::Serialize;

/// How a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It answered.
    Up,
    /// It works, with less than it was configured for.
    Degraded,
    /// It does not answer.
    Down,
}

/// One component's state, in words for an operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ComponentHealth {
    /// Which component.
    pub component: String,
    /// How it is.
    pub health: Health,
    /// What was seen, and what to do when it is not up.
    pub detail: String,
}

/// Asks the real thing, never a cached answer.
#[async_trait]
pub trait HealthCheck: Send + Sync {
    /// The state of every component of the backend.
    async fn health(&self) -> Vec<ComponentHealth>;
}
