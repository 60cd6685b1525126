//! Runs that were lost after some events, as a worker wrote them who is not there any more.

use std::{sync::Arc, time::Duration};

use insula_context::{Clock, RunId, SystemClock, UserScope};
use insula_infra::{Append, EventType, Lease, NewEvent, NewRun, RawJson, RunHeader, RunRecord, WorkerId};
use serde_json::{Value, json};

use crate::support::Island;

pub(super) fn raw(value: &Value) -> RawJson {
    RawJson::from(serde_json::value::to_raw_value(value).unwrap())
}

/// A run that was lost after these events, whose lease is over. An event is its kind, its data and the engine's part.
pub(super) async fn lost(island: &Island, header: RunHeader, version: &str, events: &[(EventType, Value, Value)]) {
    let now = SystemClock::new().now();
    let header = Arc::new(header);
    let deadline = Some(now.plus(Duration::from_secs(86_400)));
    let new = NewRun { deadline, ..NewRun::new(Arc::clone(&header), Arc::from(version), raw(&json!(1)), now) };
    let event = |(kind, data, journal): &(EventType, Value, Value)| {
        let journal = (!journal.is_null()).then(|| raw(journal));
        NewEvent { kind: *kind, at: now, data: raw(data), journal }
    };
    let append = Append {
        create: Some((new, Duration::ZERO)),
        events: events.iter().map(event).collect(),
        ..Append::new(Lease { header, worker: WorkerId::new("lost"), token: 1 }, 0)
    };
    island.ports().queue.append(append).await.unwrap();
}

/// Who a run of a class in a thread of its own is.
pub(super) fn header(scope: &UserScope, agent: &str) -> RunHeader {
    let context = crate::support::context(scope);
    let (thread, run) = (context.thread().clone(), context.run().clone());
    RunHeader { scope: scope.clone(), thread, run, parent: None, agent: Arc::from(agent) }
}

/// That the agent was started.
pub(super) fn started() -> (EventType, Value, Value) {
    (EventType::AgentStarted, json!({"class": "any", "version": "1", "input": 1, "marker": "0"}), Value::Null)
}

/// Works on what was lost and waits for the end of a run.
pub(super) async fn resumed_to_its_end(island: &Island, scope: &UserScope, run: &RunId) -> RunRecord {
    island.factory().work();
    let waiting = island.factory().wait(scope, run);
    // Longer than the longest pause of these stories.
    tokio::time::timeout(Duration::from_secs(100), waiting).await.expect("it ends").unwrap().unwrap()
}
