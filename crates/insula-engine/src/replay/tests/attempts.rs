//! What a run's next attempt gets of the one before, and what both have cost.

use serde_json::json;

use super::*;

fn again(attempt: u32) -> JournalEntry {
    let until = Timestamp::from_micros(1_700_000_000_123_456);
    let said = json!({"waiting_for": "timer", "attempt": attempt, "error": "no", "until": until});
    entry(EventType::AgentWaiting, &said, None)
}

#[test]
fn the_next_attempt_makes_those_calls_again_that_the_last_one_failed_with() {
    let failed = || completed("timeout", &json!({"error": "no"}), None);
    let step = || entry(EventType::StepCompleted, &json!({"index": 4, "name": "plan", "result": 1}), None);
    let ok = || completed("ok", &json!({"result": 7}), None);
    let table = [
        ("pure", vec![failed(), again(2)], false),
        ("idempotent", vec![failed(), again(2)], false),
        ("once", vec![failed(), again(2)], true),
        ("compensable", vec![failed(), again(2)], true),
        ("pure", vec![failed()], true),
        ("pure", vec![ok(), again(2)], true),
        // The agent has gone on after it: what it did then was an answer to the failure.
        ("pure", vec![failed(), step(), again(2)], true),
    ];
    for (effect, then, is_kept) in table {
        let read = Recorded::read(&[vec![executing(effect)], then].concat()).unwrap();
        assert_eq!(read.calls.contains_key(&3), is_kept, "{effect}: {:?}", read.calls);
    }
}

#[test]
fn a_call_of_the_next_attempt_has_another_id_and_the_same_place() {
    let failed = completed("timeout", &json!({"error": "no"}), None);
    let retried = json!({"call_id": "c3.2", "tool": "pay", "arguments": 1, "effect": "pure"});
    let retried = entry(EventType::ToolExecuting, &retried, None);
    let read = Recorded::read(&[executing("pure"), failed, again(2), retried]).unwrap();
    assert_eq!(
        (read.retries, read.calls[&3].past.clone()),
        (1, Past::Executing { effect: Effect::Pure, asked: Asked::No })
    );
    assert_eq!(read.open(Timestamp::from_micros(5))[0].id, "c3.2");
}

#[test]
fn what_calls_and_children_have_cost_is_added_up() {
    let spent = json!({"result": 7, "spent": {"tokens": 5, "money": 2}});
    let child = json!({"index": 1, "name": "kid", "kind": "agent", "result": 1, "spent": {"tool_calls": 4}});
    let entries = [
        executing("pure"),
        completed("ok", &spent, None),
        entry(EventType::StepCompleted, &child, None),
        entry(EventType::BudgetWarning, &json!({"holder": "run", "unit": "tokens", "spent": 5, "limit": 6}), None),
    ];
    let read = Recorded::read(&entries).unwrap();
    let expected = Amounts { tokens: 5, money: 2, tool_calls: 5, bytes: 1, millis: 1 };
    assert_eq!(read.spent, expected);
    assert_eq!(read.warned, [Warned { holder: "run".to_owned(), unit: Unit::Tokens }]);
}
