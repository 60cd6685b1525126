//! Props: gates, agents that wait at them, tools that are seen at work, and looks at what is left.

use std::{future::Future, sync::Arc, time::Duration};

use insula_agent::{Effect, Result, Session, Tool, ToolSpec, agent_fn, tool_fn};
use insula_context::{CancelReason, UserExecutionContext, UserScope};
use insula_engine::Metrics;
use insula_infra::{Event, RunRecord, RunStatus};
use insula_registry::AgentClass;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{Gauge, Island, events_of_run, log::runs_of, until};

/// Holds everybody back until it is opened. A clone is the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub(crate) fn open(&self) {
        self.0.close();
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) async fn passed(&self) {
        // An open gate is a closed semaphore: waiting for it ends at once.
        let _ = self.0.acquire().await;
    }
}

/// A class from an async closure.
pub(crate) fn class<F, Fut>(name: &str, run: F) -> AgentClass
where
    F: Fn(Session, Value) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    AgentClass::new(name, "1", move || agent_fn(run.clone()))
}

/// A class whose agents are in the gauge until the gate opens, and return their input then.
pub(crate) fn held(name: &str, gauge: &Gauge, gate: &Gate) -> AgentClass {
    let (gauge, gate) = (gauge.clone(), gate.clone());
    class(name, move |_, input| {
        let (inside, gate) = (gauge.enter(), gate.clone());
        async move {
            gate.passed().await;
            drop(inside);
            Ok(json!({"held": input}))
        }
    })
}

/// A class whose agents keep a thread busy, without an `await`, until the gate opens.
pub(crate) fn spinning(name: &str, gauge: &Gauge, gate: &Gate) -> AgentClass {
    let (gauge, gate) = (gauge.clone(), gate.clone());
    class(name, move |_, _| {
        let (gauge, gate) = (gauge.clone(), gate.clone());
        async move {
            let _inside = gauge.enter();
            spin_until_open(&gate);
            Ok(json!(true))
        }
    })
}

/// A busy loop. It ends by itself in a test that has failed.
pub(crate) fn spin_until_open(gate: &Gate) {
    let began = std::time::Instant::now();
    while !gate.is_open() && began.elapsed() < Duration::from_secs(20) {
        std::thread::yield_now();
    }
}

/// A class that calls a tool with its input and returns the result.
pub(crate) fn caller(name: &str, tool: &'static str) -> AgentClass {
    class(name, move |session, input| async move { session.call_tool(tool, input).await })
}

/// A class that runs another class with its input and returns the result.
pub(crate) fn parent(name: &str, child: &'static str) -> AgentClass {
    class(name, move |session, input| async move { session.call_agent(child, input).await })
}

/// What a tool of these suites is, before it is adjusted.
pub(crate) fn spec(name: &str) -> ToolSpec {
    ToolSpec::with_schema(name, json!(true)).effect(Effect::Pure)
}

/// A tool whose calls are in the gauge until the gate opens, and return their arguments then.
pub(crate) fn held_tool(spec: ToolSpec, gauge: &Gauge, gate: &Gate) -> impl Tool + 'static {
    let (gauge, gate) = (gauge.clone(), gate.clone());
    tool_fn(spec, move |_, arguments: Value| {
        let (inside, gate) = (gauge.enter(), gate.clone());
        async move {
            gate.passed().await;
            drop(inside);
            Ok(arguments)
        }
    })
}

/// The reason that these suites stop runs with.
pub(crate) fn enough() -> CancelReason {
    CancelReason::new("user", "enough")
}

/// The log of the context's run.
pub(crate) async fn log_of(island: &Island, context: &UserExecutionContext) -> Vec<Event> {
    events_of_run(island.ports(), context.scope(), context.run()).await
}

/// The log of the context's run, once its end is in it: what nobody waits for is written later.
pub(crate) async fn ended_log(island: &Island, context: &UserExecutionContext) -> Vec<Event> {
    let looking = async {
        loop {
            let log = log_of(island, context).await;
            if log.last().is_some_and(|event| event.kind.is_terminal()) {
                return log;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(20), looking).await {
        Ok(log) => log,
        Err(_) => panic!("{} never ended", context.run()),
    }
}

/// The record of the context's run.
pub(crate) async fn record_of(island: &Island, context: &UserExecutionContext) -> RunRecord {
    island.ports().runs.run(context.scope(), context.run()).await.unwrap().expect("the run is known")
}

/// The data of an event.
pub(crate) fn data(event: &Event) -> Value {
    event.data().unwrap()
}

/// Waits until no run and no instance is left, while engines may be. A user's account, and with it every permit that was
/// not given back, lives as long as an engine of that user.
pub(crate) async fn no_run_is_left(island: &Island) {
    let gone = |m: Metrics| (m.runs_live, m.instances_live) == (0, 0);
    until("no run lives any more", || gone(island.factory().metrics())).await;
}

/// Waits until no run, instance, engine or permit is left, and holds that every run of these users has ended.
pub(crate) async fn nothing_is_left(island: &Island, users: &[&UserScope]) {
    let gone = |m: Metrics| (m.runs_live, m.instances_live, m.engines_live, m.users_live) == (0, 0, 0, 0);
    until("nothing lives any more", || gone(island.factory().metrics())).await;
    // The end of a run that nobody waits for is written, but nobody waits for that either.
    let written = async {
        while hanging(island, users).await.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), written).await;
    assert!(ended.is_ok(), "never ended: {:?}", hanging(island, users).await);
}

async fn hanging(island: &Island, users: &[&UserScope]) -> Option<RunRecord> {
    for scope in users {
        let mut runs = runs_of(island.ports(), scope).await.into_iter();
        if let Some(run) = runs.find(|run| !run.status.is_terminal()) {
            return Some(run);
        }
    }
    None
}

/// How many of a user's runs ended so.
pub(crate) async fn ended_as(island: &Island, scope: &UserScope, status: RunStatus) -> usize {
    runs_of(island.ports(), scope).await.iter().filter(|run| run.status == status).count()
}
