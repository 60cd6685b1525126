//! A worker that is lost after any event: the run ends with the same result, and the log is the same.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use insula_context::{RunId, ThreadId, UserExecutionContext, UserScope};
use insula_engine::ExecutionEngineFactory;
use insula_infra::{Backend, Event, EventType, RunStatus};
use serde_json::{Value, json};

use super::{
    story::{Ledger, ONCE, TOOLS, journeys_run, stage},
    tape::{LEASE, Tape, resumed},
};
use crate::support::{Backing, HandClock, Island, events_of_run};

/// What the story is when nothing happens to it.
struct Undisturbed {
    tape: Tape,
    scope: UserScope,
    result: Value,
    ledger: Ledger,
}

/// One way to be lost.
struct Point {
    scope: UserScope,
    /// How many events were written.
    events: usize,
    name: String,
}

impl Undisturbed {
    async fn watch(island: &Island, ledger: Ledger) -> Self {
        let scope = island.user("undisturbed");
        let thread = ThreadId::new("journey").unwrap();
        let context = UserExecutionContext::builder(scope.clone(), thread.clone(), journeys_run()).build().unwrap();
        let engine = island.engine(&context);
        let running = engine.execute_agent(&context, "journey", json!("go"));
        let (outcome, ()) = tokio::join!(running, answer(island.factory(), &scope));
        let result = outcome.unwrap().result().expect("it completes").clone();
        let tape = Tape::of(island.ports(), &scope, &thread).await;
        assert!(tape.len() > 35 && tape.runs().count() == 2, "{} events", tape.len());
        Self { tape, scope, result, ledger }
    }

    /// Loses a worker after each event, and once more as soon as the run was taken over.
    async fn lose(&self, island: &Island) -> Vec<Point> {
        let mut points = Vec::new();
        for events in 0..self.tape.len() {
            for again in [false, true] {
                if again && events == 0 {
                    continue;
                }
                let name = format!("{events}{}", if again { "-again" } else { "" });
                let scope = island.user(&format!("lost-after-{name}"));
                let more = if again { vec![resumed()] } else { Vec::new() };
                self.tape.write(island.ports(), &scope, events, more).await;
                points.push(Point { scope, events, name });
            }
        }
        points
    }

    /// The tools that were being called when the worker was lost, with their call's id.
    fn interrupted(&self, events: usize) -> Vec<(String, Value)> {
        let first = self.tape.first(events);
        let said = |kind| first.iter().filter(move |event| event.kind == kind).map(data);
        let ended: Vec<Value> = said(EventType::ToolCompleted).map(|data| data["call_id"].clone()).collect();
        let open = said(EventType::ToolExecuting).filter(|data| !ended.contains(&data["call_id"]));
        open.map(|data| (data["tool"].as_str().unwrap().to_owned(), data["call_id"].clone())).collect()
    }

    async fn hold(&self, backend: &Backend, point: &Point) -> Vec<String> {
        let mut faults = self.faults_of_the_log(backend, point).await;
        faults.extend(self.faults_of_the_tools(point));
        faults.into_iter().map(|fault| format!("lost after {}: {fault}", point.name)).collect()
    }

    async fn faults_of_the_log(&self, backend: &Backend, point: &Point) -> Vec<String> {
        let unknown = self.interrupted(point.events);
        let unknown: Vec<_> = unknown.iter().filter(|(tool, _)| ONCE.contains(&&**tool)).collect();
        let mut faults = Vec::new();
        for run in self.tape.runs() {
            let before = story(&self.log(backend, &self.scope, run).await);
            let log = self.log(backend, &point.scope, run).await;
            let mut expected = before;
            for (tool, call) in unknown.iter().copied() {
                doubt(&mut expected, tool, call);
            }
            let lost = log.iter().filter(|event| is_resumed(event) && data(event)["why"] == "worker lost").count();
            let found = story(&log);
            if found != expected {
                let at = found.iter().zip(&expected).take_while(|(found, expected)| found == expected).count();
                faults.push(format!("{run} says as event {at} {:?} instead of {:?}", found.get(at), expected.get(at)));
            }
            if lost == 0 && *run == journeys_run() && point.events > 0 {
                faults.push("the run does not say that it was resumed".to_owned());
            }
            if *run == journeys_run() {
                faults.extend(fault_of_the_result(&log, &self.result, &unknown));
            }
        }
        faults
    }

    async fn log(&self, backend: &Backend, scope: &UserScope, run: &RunId) -> Vec<Event> {
        events_of_run(backend, scope, run).await
    }

    /// What must not be repeated was not, and what was has its key.
    fn faults_of_the_tools(&self, point: &Point) -> Vec<String> {
        let first = self.tape.first(point.events);
        let mut faults = Vec::new();
        for tool in TOOLS {
            let made = |kind| first.iter().filter(|e| e.kind == kind && data(e)["tool"] == tool).count();
            let (all, now) = (self.ledger.keys(&self.scope, tool), self.ledger.keys(&point.scope, tool));
            let done =
                if ONCE.contains(&tool) { made(EventType::ToolExecuting) } else { made(EventType::ToolCompleted) };
            if now.len() != all.len() - done {
                faults.push(format!("{tool} was called {} times more, of {} with {done} done", now.len(), all.len()));
            }
            let keys: BTreeSet<&String> = now.iter().collect();
            if keys.len() != now.len() || now.iter().any(|key| !all.contains(key)) {
                faults.push(format!("{tool} was called with {now:?} instead of {all:?}"));
            }
        }
        faults
    }
}

fn data(event: &Event) -> Value {
    event.data().unwrap()
}

fn is_resumed(event: &Event) -> bool {
    event.kind == EventType::AgentResumed
}

/// A log without what no two runs have in common, and without `agent_resumed`.
fn story(log: &[Event]) -> Vec<(EventType, Value)> {
    let events = log.iter().filter(|event| !is_resumed(event));
    let mut story: Vec<_> = events.map(|event| (event.kind, without_accidents(event.kind, data(event)))).collect();
    in_order_of_calls(&mut story);
    story
}

/// Calls that were made side by side may end in any order.
fn in_order_of_calls(story: &mut [(EventType, Value)]) {
    let is_beside = |(_, data): &(EventType, Value)| ["c8", "c9", "c10"].iter().any(|call| data["call_id"] == *call);
    let Some(first) = story.iter().position(is_beside) else { return };
    let beside = story[first..].iter().take_while(|event| is_beside(event)).count();
    story[first..first + beside].sort_by_key(|(_, data)| data["call_id"].to_string());
}

fn without_accidents(kind: EventType, mut data: Value) -> Value {
    let fields = data.as_object_mut().unwrap();
    for field in ["duration_ms", "marker", "until"] {
        fields.remove(field);
    }
    if let Some(spent) = fields.get_mut("spent").and_then(Value::as_object_mut) {
        spent.remove("millis");
    }
    if kind == EventType::AgentCompleted {
        // Held against the agent's own result elsewhere.
        fields.remove("result");
        fields["usage"].as_object_mut().unwrap().remove("events");
    }
    if ["random", "now"].iter().any(|name| fields.get("name") == Some(&json!(name))) {
        fields.remove("result");
    }
    data
}

/// What is said of a call that must not be repeated and was interrupted.
fn doubt(story: &mut [(EventType, Value)], tool: &str, call: &Value) {
    let is_its_end = |(kind, data): &&mut (EventType, Value)| {
        *kind == EventType::ToolCompleted && data["tool"] == tool && data["call_id"] == *call
    };
    if let Some((_, data)) = story.iter_mut().find(is_its_end) {
        let fields = data.as_object_mut().unwrap();
        fields.remove("result");
        let error = format!("tool \"{tool}\" was interrupted, and whether it took effect is not known");
        fields.extend([("status".to_owned(), json!("unknown")), ("error".to_owned(), json!(error))]);
    }
}

/// The same result, but for what was unknown; chance and time are what the log says.
fn fault_of_the_result(log: &[Event], undisturbed: &Value, unknown: &[&(String, Value)]) -> Option<String> {
    let recorded = |name: &str| {
        let step = |event: &&Event| event.kind == EventType::StepCompleted && data(event)["name"] == name;
        log.iter().find(step).map(|event| data(event)["result"].clone())
    };
    let mut expected = undisturbed.clone();
    (expected["seed"], expected["at"]) = (recorded("random").into(), recorded("now").into());
    for (tool, _) in unknown {
        expected[if tool == "pay" { "paid" } else { "reserved" }] = json!("unknown");
    }
    let end = log.last().map(data).unwrap_or_default();
    (end["result"] != expected).then(|| format!("it gave {end} instead of {expected}"))
}

/// Answers a user's question whenever there is one, until there is none left to come.
async fn answer(factory: &ExecutionEngineFactory, scope: &UserScope) {
    let run = journeys_run();
    let is_over = async || {
        let record = factory.backend().runs.run(scope, &run).await.unwrap();
        record.is_some_and(|record| record.status.is_terminal())
    };
    let answering = async {
        while !is_over().await {
            factory.answer(scope, &run, json!("yes"));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), answering).await.is_ok(), "{scope} never ended");
}

async fn lost_after_every_event(backing: Backing) {
    let (clock, ledger) = (HandClock::new(), Ledger::default());
    let island = stage(Island::new(backing.open(Arc::clone(&clock) as _)), &ledger);
    let undisturbed = Undisturbed::watch(&island, ledger).await;
    let points = undisturbed.lose(&island).await;
    clock.advance(LEASE + Duration::from_secs(1));
    let another = island.another();
    another.work();
    join_all(points.iter().map(|point| answer(&another, &point.scope))).await;
    let mut faults = Vec::new();
    for point in &points {
        let record = island.ports().runs.run(&point.scope, &journeys_run()).await.unwrap().unwrap();
        if record.status != RunStatus::Completed {
            faults.push(format!("lost after {}: {:?} {:?}", point.name, record.status, record.failure));
        }
        faults.extend(undisturbed.hold(island.ports(), point).await);
    }
    println!("{} crash points of a log of {} events", points.len(), undisturbed.tape.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    island.witness().hold_against_the_invariants().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_lost_after_any_event_changes_nothing_in_memory() {
    lost_after_every_event(Backing::Memory).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_lost_after_any_event_changes_nothing_on_sqlite() {
    lost_after_every_event(Backing::sqlite()).await;
}
