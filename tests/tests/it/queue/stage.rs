//! Props: runs that write down when they begin, and looks at the records.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_context::{RunId, Timestamp, UserScope};
use insula_engine::{ExecutionEngineFactory, RunRequest};
use insula_infra::{EventType, RunRecord};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use crate::{
    engine::stage::class,
    support::{Island, events_of_run, log::runs_of},
};

/// How long a run of [`Begun::class`] takes.
pub(super) const LENGTH: Duration = Duration::from_secs(1);

/// The inputs of the runs that have begun, in order. A clone is the same list.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<Value>>>);

impl Begun {
    /// A class whose agents write down that they begin, and take their time.
    pub(super) fn class(&self, name: &str) -> AgentClass {
        let begun = self.clone();
        class(name, move |_, input| {
            begun.0.lock().unwrap().push(input);
            async move {
                tokio::time::sleep(LENGTH).await;
                Ok(json!(null))
            }
        })
    }

    pub(super) fn so_far(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }
}

/// Puts runs with these inputs into the queue; nobody works on it yet.
pub(super) async fn line_up(
    factory: &ExecutionEngineFactory,
    scope: &UserScope,
    class: &str,
    inputs: impl IntoIterator<Item = Value>,
) -> Vec<RunId> {
    let mut runs = Vec::new();
    for input in inputs {
        runs.push(factory.enqueue(scope, RunRequest::new(class, input)).await.unwrap());
    }
    runs
}

/// The record of a run.
pub(super) async fn record(island: &Island, scope: &UserScope, run: &RunId) -> RunRecord {
    island.ports().runs.run(scope, run).await.unwrap().unwrap()
}

/// When a run's agent began, as its log says.
pub(super) async fn began(island: &Island, record: &RunRecord) -> Timestamp {
    let log = events_of_run(island.ports(), &record.header.scope, &record.header.run).await;
    log.iter().find(|event| event.kind == EventType::AgentStarted).expect("it has begun").at
}

/// How long a run waited for its beginning.
pub(super) async fn delay(island: &Island, record: &RunRecord) -> Duration {
    began(island, record).await.since(record.created_at)
}

/// When a user's runs were made, oldest first.
pub(super) async fn made(island: &Island, scope: &UserScope) -> Vec<Timestamp> {
    let mut made: Vec<_> = runs_of(island.ports(), scope).await.iter().map(|run| run.created_at).collect();
    made.sort();
    made
}

/// Waits until all of them have ended.
pub(super) async fn all_ended(factory: &ExecutionEngineFactory, scope: &UserScope, runs: &[RunId]) {
    for run in runs {
        factory.wait(scope, run).await.unwrap().unwrap();
    }
}
