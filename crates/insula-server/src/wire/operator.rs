//! What operators and admins see: counts and health, and nobody's content.

use insula_context::Timestamp;
use insula_infra::ComponentHealth;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the server is and what it has to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// Its version.
    pub version: &'static str,
    /// When this process began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// The name of this process among those that work on the queue.
    pub node: String,
    /// Whether it takes nothing new any more.
    pub draining: bool,
    /// Runs of all users, by what they wait for.
    #[schema(value_type = Object)]
    pub counts: insula_infra::Counts,
    /// What this process holds and has done.
    #[schema(value_type = Object)]
    pub metrics: insula_engine::Metrics,
    /// Processes that work on the queue.
    pub nodes: Vec<Node>,
    /// What everybody may have.
    pub limits: LimitsShown,
    /// How each component is.
    pub health: Vec<ComponentState>,
    /// Sockets that are open here.
    pub sockets: u64,
    /// Streams of server-sent events that are open here.
    pub streams: usize,
}

/// A process that works on the queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// Its name among them.
    pub worker: String,
    /// Runs that it holds.
    pub runs: u64,
    /// When its lease ends unless it renews it. When that is past, others take over what it holds.
    #[schema(value_type = String, format = DateTime)]
    pub lease_until: Timestamp,
}

impl From<insula_infra::NodeRecord> for Node {
    fn from(record: insula_infra::NodeRecord) -> Self {
        let insula_infra::NodeRecord { worker, runs, lease_until } = record;
        Self { worker, runs, lease_until }
    }
}

/// What everybody may have.
#[derive(Debug, Serialize, ToSchema)]
pub struct LimitsShown {
    /// Running runs of a user.
    pub running: usize,
    /// Queued runs of a user that were never begun.
    pub queued: usize,
    /// Tool calls of a user in flight.
    pub tool_calls: usize,
    /// Sockets of a user.
    pub connections: usize,
    /// Runs of a user in a turn.
    pub weight: u16,
    /// How long a run may be worked on, in milliseconds.
    pub run_time_ms: u64,
}

impl From<&insula_engine::Limits> for LimitsShown {
    fn from(limits: &insula_engine::Limits) -> Self {
        Self {
            running: limits.running,
            queued: limits.queued,
            tool_calls: limits.tool_calls,
            connections: limits.connections,
            weight: limits.weight,
            run_time_ms: u64::try_from(limits.run_time.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What one user may have where it is not what everybody may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OwnLimits {
    /// Running runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<usize>,
    /// Queued runs that were never begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued: Option<usize>,
    /// Sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Runs in a turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

/// How a component is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ComponentState {
    /// Which.
    pub component: String,
    /// `up`, `degraded` or `down`.
    #[schema(value_type = String)]
    pub health: insula_infra::Health,
    /// What was seen, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl From<ComponentHealth> for ComponentState {
    fn from(state: ComponentHealth) -> Self {
        Self { component: state.component, health: state.health, detail: Some(state.detail) }
    }
}

/// Whether the server takes work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    /// `ready`, `degraded`, `down` or `draining`.
    pub status: &'static str,
    /// How each component is; in detail for operators.
    pub components: Vec<ComponentState>,
}
