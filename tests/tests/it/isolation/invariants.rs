//! The check that ends every story must be able to fail: it finds each way in which a log can be wrong.

use std::sync::Arc;

use insula_context::{RandomIds, RunId, ThreadId, Timestamp};
use insula_infra::{Event, EventType, RunHeader, RunRecord, RunStatus};
use serde_json::{json, value::to_raw_value};

use crate::support::{
    log::{faults_of_run, faults_of_thread},
    user,
};

/// A log of a completed run with one call of a tool, as it should be.
fn good() -> (RunRecord, Vec<Event>) {
    use EventType::{AgentCompleted, AgentQueued, AgentStarted, ToolCompleted, ToolExecuting};
    let (thread, run) = (ThreadId::generate(&RandomIds), RunId::generate(&RandomIds));
    let header = Arc::new(RunHeader { scope: user("ada"), thread, run, parent: None, agent: "a".into() });
    let said = [AgentQueued, AgentStarted, ToolExecuting, ToolCompleted, AgentCompleted];
    let events: Vec<Event> = (1..).zip(said).map(|(seq, kind)| event(&header, seq, kind)).collect();
    let record = RunRecord {
        header,
        version: "1".into(),
        status: RunStatus::Completed,
        input: to_raw_value(&1).unwrap().into(),
        result: None,
        failure: None,
        cancel: None,
        waits_for: None,
        rolled_back: false,
        created_at: Timestamp::from_micros(0),
        started_at: None,
        ended_at: None,
        events: 5,
    };
    (record, events)
}

fn event(header: &Arc<RunHeader>, seq: u64, kind: EventType) -> Event {
    let at = Timestamp::from_micros(i64::try_from(seq).unwrap());
    let data = to_raw_value(&json!({"call_id": "c0"})).unwrap().into();
    Event { seq, kind, at, data, header: Arc::clone(header) }
}

/// What the check says of the good log after a change.
fn after(change: impl FnOnce(&mut RunRecord, &mut Vec<Event>)) -> String {
    let (mut record, mut events) = good();
    let (scope, thread) = (record.header.scope.clone(), record.header.thread.clone());
    change(&mut record, &mut events);
    let mut faults = faults_of_thread(&scope, &thread, 1, &events);
    faults.extend(faults_of_run(&record, &events));
    faults.join("\n")
}

#[test]
fn a_log_as_it_should_be_has_no_faults() {
    assert_eq!(after(|_, _| {}), "");
    assert_eq!(after(|record, events| (record.status, _) = (RunStatus::Running, events.truncate(3))), "");
}

#[test]
fn each_way_in_which_a_log_can_be_wrong_is_found() {
    use EventType::{AgentCompleted, AgentStarted, AgentThinking};
    let header = |events: &[Event]| RunHeader { scope: user("bob"), ..(*events[0].header).clone() };
    let found = [
        (after(|_, events| drop(events.remove(2))), "seq 4 where 3 was due"),
        (after(|_, events| events[1].header = Arc::new(header(events))), "belongs to"),
        (after(|_, events| events[1].header = Arc::new(header(events))), "instead of"),
        (after(|_, events| events[3].at = Timestamp::from_micros(0)), "written before"),
        (after(|_, events| events[2].kind = AgentStarted), "2 times agent_started"),
        (after(|_, events| events[1].kind = AgentThinking), "comes before agent_started"),
        (after(|_, events| events.truncate(4)), "0 ends"),
        (after(|_, events| events[3].kind = AgentCompleted), "2 ends"),
        (after(|_, events| events.swap(3, 4)), "something follows the end"),
        (after(|record, _| record.status = RunStatus::Failed), "ends with agent_completed"),
        (after(|_, events| events[3].kind = AgentThinking), "still open at the end"),
        (after(|_, events| events[2].kind = AgentThinking), "which is not open"),
    ];
    for (faults, expected) in found {
        assert!(faults.contains(expected), "{expected} is not said in: {faults:?}");
    }
    let never_started = after(|_, events| {
        events.truncate(1);
        events[0].kind = AgentCompleted;
    });
    assert!(never_started.contains("never started"), "{never_started}");
}
