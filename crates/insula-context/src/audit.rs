//! What an audit log keeps of a context.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{ConnectionId, RequestId, RunId, SessionId, ThreadId, Timestamp, TraceContext, UserScope};

/// The part of a context that is written to an audit log. It serializes and holds no secret.
#[derive(Debug, Serialize)]
pub struct AuditView<'a> {
    #[serde(flatten)]
    pub(crate) scope: &'a UserScope,
    pub(crate) session_id: Option<&'a SessionId>,
    pub(crate) thread_id: &'a ThreadId,
    pub(crate) run_id: &'a RunId,
    pub(crate) request_id: &'a RequestId,
    pub(crate) parent_request_id: Option<&'a RequestId>,
    pub(crate) connection_id: Option<&'a ConnectionId>,
    pub(crate) operation: Option<&'a str>,
    pub(crate) depth: u8,
    pub(crate) created_at: Timestamp,
    pub(crate) trace: Option<&'a TraceContext>,
    pub(crate) audit: &'a BTreeMap<String, Value>,
}
