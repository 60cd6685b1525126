//! Events for tests.

use std::sync::Arc;

use insula_context::{RunId, ThreadId, Timestamp};
use insula_infra::{Event, EventType, RunHeader};
use serde_json::Value;

/// An event of ada's, in a thread of hers.
pub(crate) fn event(run: &str, parent: Option<&str>, kind: EventType, at: i64, data: &Value) -> Event {
    let id = |id: &str| RunId::new(id).expect("valid, because the tests choose it");
    let header = RunHeader {
        scope: crate::identity::invented("ada").expect("valid, because the tests choose it"),
        thread: ThreadId::new("t").expect("valid, because the tests choose it"),
        run: id(run),
        parent: parent.map(id),
        agent: Arc::from(format!("agent-{run}")),
    };
    let data = serde_json::value::to_raw_value(data).expect("a value always has a JSON form").into();
    Event { seq: 1, kind, at: Timestamp::from_micros(at), data, header: Arc::new(header) }
}
