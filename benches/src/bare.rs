//! The bare loop: the bytes of a one-tool run appended to the same store with the same acknowledgements, and nothing
//! else.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use insula_context::{Clock, RunId, SystemClock, ThreadId, UserScope};
use insula_infra::{Append, Backend, EventType, Lease, NewEvent, NewRun, RawJson, RunChange, RunHeader, WorkerId};
use serde_json::{json, value::to_raw_value};

/// The texts of a run's events, made once.
pub(crate) struct Bytes {
    input: RawJson,
    started: RawJson,
    executing: RawJson,
    completed: RawJson,
    ended: RawJson,
    result: RawJson,
    clock: SystemClock,
    worker: WorkerId,
}

fn raw(value: &serde_json::Value) -> RawJson {
    to_raw_value(value).expect("a value has a JSON form").into()
}

impl Bytes {
    pub(crate) fn new() -> Self {
        let marker = "0123456789abcdef0123456789abcdef";
        Self {
            input: raw(&json!({"question": "what is the answer?"})),
            started: raw(
                &json!({"class": "one-tool", "version": "1", "input": {"question": "what is the answer?"}, "marker": marker}),
            ),
            executing: raw(&json!({"call_id": "c0", "tool": "tally", "arguments": {"n": 41}, "effect": "idempotent"})),
            completed: raw(
                &json!({"call_id": "c0", "tool": "tally", "index": 0, "status": "ok", "result": 42, "duration_ms": 0.012}),
            ),
            ended: raw(
                &json!({"result": {"answer": 42}, "usage": {"tool_calls": 1, "steps": 0, "events": 3}, "duration_ms": 0.42}),
            ),
            result: raw(&json!({"answer": 42})),
            clock: SystemClock::new(),
            worker: WorkerId::new("bare"),
        }
    }

    fn event(&self, kind: EventType, data: &RawJson) -> NewEvent {
        NewEvent { kind, at: self.clock.now(), data: Arc::clone(data), journal: None }
    }

    /// One run: what comes before the tool, acknowledged; what comes after it, acknowledged.
    pub(crate) async fn run(&self, backend: &Backend, scope: &UserScope, thread: &ThreadId) -> Result<()> {
        let header = Arc::new(RunHeader {
            scope: scope.clone(),
            thread: thread.clone(),
            run: RunId::generate(&insula_context::RandomIds),
            parent: None,
            agent: Arc::from("one-tool"),
        });
        let lease = Lease { header: Arc::clone(&header), worker: self.worker.clone(), token: 1 };
        let run = NewRun::new(header, Arc::from("1"), Arc::clone(&self.input), self.clock.now());
        let before = vec![
            self.event(EventType::AgentStarted, &self.started),
            self.event(EventType::ToolExecuting, &self.executing),
        ];
        let create = Some((run, Duration::from_secs(30)));
        let append = Append { create, events: before, ..Append::new(lease.clone(), 0) };
        backend.queue.append(append).await?;
        let after = vec![
            self.event(EventType::ToolCompleted, &self.completed),
            self.event(EventType::AgentCompleted, &self.ended),
        ];
        let change = Some(RunChange::Completed { result: Arc::clone(&self.result) });
        let append = Append { events: after, change, ..Append::new(lease, 2) };
        backend.queue.append(append).await?;
        Ok(())
    }
}
