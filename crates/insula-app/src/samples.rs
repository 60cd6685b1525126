//! Events for tests.

use std::sync::Arc;

use insula_context::{RunId, ThreadId, Timestamp};
use insula_infra::{Event, EventType, RunHeader};
use serde_json::Value;

/// An event of ada's, in a thread of hers.
pub(crate) fn event(run: &str, parent: Option<&str>, kind: EventType, at: i64, data: &Value) -> Event {
    let id = |id: &str| RunId::new(id).expect("an id");
    let header = RunHeader {
        scope: crate::identity::invented("ada").expect("a user"),
        thread: ThreadId::new("t").expect("an id"),
        run: id(run),
        parent: parent.map(id),
        agent: Arc::from(format!("agent-{run}")),
    };
    let data = serde_json::value::to_raw_value(data).expect("JSON").into();
    Event { seq: 1, kind, at: Timestamp::from_micros(at), data, header: Arc::new(header) }
}
