//! What entries make of a record.

mod attempts;

use serde_json::json;

use super::*;

pub(super) fn entry(kind: EventType, data: &Value, journal: Option<Value>) -> JournalEntry {
    let raw = |value: &Value| RawJson::from(serde_json::value::to_raw_value(value).unwrap());
    JournalEntry { kind, data: raw(data), journal: journal.as_ref().map(raw) }
}

fn call(entries: &[JournalEntry]) -> Option<Call> {
    Recorded::read(entries).unwrap().calls.remove(&3)
}

pub(super) fn executing(effect: &str) -> JournalEntry {
    let said = json!({"call_id": "c3", "tool": "pay", "arguments": 1, "effect": effect});
    entry(EventType::ToolExecuting, &said, None)
}

pub(super) fn completed(status: &str, more: &Value, journal: Option<Value>) -> JournalEntry {
    let mut said = json!({"call_id": "c3", "tool": "pay", "index": 3, "status": status, "duration_ms": 1.0});
    said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry(EventType::ToolCompleted, &said, journal)
}

#[test]
fn each_end_of_a_tool_is_recorded_as_what_it_was() {
    let hash = PayloadHash::of(b"large");
    let reference = json!({"result": {"$payload": hash.to_string(), "bytes": 5}});
    let failure = ToolFailure::Timeout { after: Duration::from_millis(1_500) };
    let table = [
        (completed("ok", &json!({"result": 7}), None), Past::Gave(json!(7))),
        (completed("ok", &json!({"result": null}), None), Past::Gave(Value::Null)),
        (completed("ok", &json!({"result": "[redacted]"}), Some(json!("s"))), Past::Gave(json!("s"))),
        (completed("ok", &reference, None), Past::GaveLarge(hash)),
        // What only the engine sees is never a reference, whatever it looks like.
        (completed("ok", &reference, Some(reference.clone())), Past::Gave(reference.clone())),
        (completed("timeout", &json!({"error": "no"}), Some(json!(failure))), Past::Failed(failure)),
        (completed("aborted", &json!({"error": "stopped"}), None), Past::GivenUp),
    ];
    for (end, past) in table {
        let expected = Call { kind: CallKind::Tool, name: "pay".to_owned(), past };
        assert_eq!(call(&[executing("once"), end]), Some(expected));
    }
    assert_eq!(call(&[executing("once")]).unwrap().past, Past::Executing { effect: Effect::Once, asked: Asked::No });
}

#[test]
fn a_wait_is_open_until_its_own_resumption() {
    let until = Timestamp::from_micros(1_700_000_000_123_456);
    let waiting = |kind: &str| {
        let said = json!({"waiting_for": kind, "index": 3, "until": until});
        entry(EventType::AgentWaiting, &said, None)
    };
    let resumed =
        |why: &str, index: u32| entry(EventType::AgentResumed, &json!({"why": why}), Some(json!({"index": index})));
    let lost = entry(EventType::AgentResumed, &json!({"why": "worker lost"}), None);
    let done = entry(EventType::StepCompleted, &json!({"index": 3, "name": "sleep", "result": true}), None);
    let open = Past::Waiting { until: Some(until) };
    let table: [(&str, Vec<JournalEntry>, Past); 6] = [
        ("timer", vec![], open.clone()),
        ("human", vec![lost], open.clone()),
        ("timer", vec![resumed("timer", 2)], open),
        ("timer", vec![resumed("timer", 3)], Past::Waited(Why::Timer)),
        ("human", vec![resumed("given_up", 3)], Past::GivenUp),
        ("timer", vec![resumed("timer", 3), done], Past::Gave(json!(true))),
    ];
    for (kind, then, past) in table {
        let found = call(&[vec![waiting(kind)], then].concat()).unwrap();
        let expected = if kind == "human" { CallKind::Answer } else { CallKind::Timer };
        assert_eq!((found.kind, found.past), (expected, past));
    }
}

#[test]
fn counts_go_on_from_what_was_said() {
    let said = |kind| entry(kind, &json!({"version": "2"}), None);
    let step = entry(EventType::StepCompleted, &json!({"index": 0, "name": "plan", "result": 1}), None);
    let child = json!({"index": 1, "name": "kid", "kind": "agent", "result": 1});
    let entries = [
        said(EventType::AgentQueued),
        said(EventType::AgentStarted),
        said(EventType::AgentThinking),
        said(EventType::Custom),
        said(EventType::AgentThinking),
        executing("pure"),
        step,
        entry(EventType::StepCompleted, &child, None),
    ];
    let read = Recorded::read(&entries).unwrap();
    assert_eq!((read.thoughts, read.customs, read.tool_calls, read.steps), (2, 1, 1, 2));
    assert_eq!((read.version.as_deref(), read.calls[&1].kind), (Some("2"), CallKind::Agent));
    let open = read.open(Timestamp::from_micros(5));
    assert_eq!(open.iter().map(|open| (open.index, &*open.id)).collect::<Vec<_>>(), [(3, "c3")]);
    assert_eq!(Recorded::read(&entries[..1]).unwrap(), Recorded::default(), "it has only been queued");
}

#[test]
fn an_entry_that_nobody_wrote_is_named() {
    let damaged = Recorded::read(&[executing("pure"), entry(EventType::StepCompleted, &json!({}), None)]);
    assert!(damaged.unwrap_err().starts_with("its event 2 (step_completed) cannot be read: "));
}
