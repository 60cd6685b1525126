//! The wire form of every event, held against what was agreed.

use std::time::Duration;

use insula_agent::{Effect, Question};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::order::take;
use crate::{
    engine::stage::{class, log_of},
    support::{Island, context, in_virtual_time, kinds, on_every_backend},
};

/// The event as it is sent, with what differs from test to test replaced by its shape.
fn sent(event: &insula_infra::Event) -> Value {
    let mut sent = serde_json::to_value(event).unwrap();
    let time = sent["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "RFC 3339 in UTC: {time}");
    for key in ["timestamp", "thread_id", "run_id"] {
        sent[key] = json!(format!("<{key}>"));
    }
    if sent.get("parent_run_id").is_some() {
        sent["parent_run_id"] = json!("<run_id>");
    }
    let data = &mut sent["data"];
    if let Some(marker) = data.get_mut("marker") {
        assert_eq!(marker.as_str().map(str::len), Some(32), "128 bits");
        *marker = json!("<marker>");
    }
    for key in ["duration_ms", "until"] {
        if let Some(found) = data.get_mut(key) {
            assert!(found.is_f64() || found.is_string(), "{key}: {found}");
            *found = json!(format!("<{key}>"));
        }
    }
    sent
}

/// The envelope around some data.
fn envelope(seq: u64, kind: &str, agent: &str, data: Value) -> Value {
    json!({
        "seq": seq, "type": kind, "user_id": "ada", "thread_id": "<thread_id>", "run_id": "<run_id>",
        "agent": agent, "timestamp": "<timestamp>", "data": data,
    })
}

/// Says something of every kind that an agent can say.
fn talkative() -> AgentClass {
    class("talkative", |session, _| async move {
        session.think("well");
        session.emit("progress", json!({"percent": 50}))?;
        let _: i64 = session.step("choose", Effect::Pure, async || Ok(7)).await?;
        session.call_tool("tally", json!({"n": 1})).await?;
        let broken = session.call_tool("tally", json!({"n": "one"})).await;
        assert!(broken.is_err());
        Ok(json!({"done": true}))
    })
}

on_every_backend! {
    async fn evt_3_every_envelope_has_all_fields_in_the_order_of_the_wire(island: Island) {
        let island = island.class(talkative());
        let ada = island.user("ada");
        let context = context(&ada);
        island.engine(&context).execute_agent(&context, "talkative", json!({"q": 1})).await.unwrap();
        let log = log_of(&island, &context).await;
        let fields = ["seq", "type", "user_id", "thread_id", "run_id", "agent", "timestamp", "data"];
        for event in &log {
            let text = serde_json::to_string(event).unwrap();
            let places: Vec<_> = fields.iter().map(|field| text.find(&format!("\"{field}\":"))).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
        }
        let sent: Vec<Value> = log.iter().map(sent).collect();
        let expected = [
            ("agent_started", json!({"class": "talkative", "version": "1", "input": {"q": 1}, "marker": "<marker>"})),
            ("agent_thinking", json!({"text": "well", "step": 1})),
            ("custom", json!({"name": "progress", "data": {"percent": 50}})),
            ("step_completed", json!({"index": 0, "name": "choose", "result": 7})),
            ("tool_executing", json!({"call_id": "c1", "tool": "tally", "arguments": {"n": 1}, "effect": "pure"})),
            ("tool_completed", json!({"call_id": "c1", "tool": "tally", "index": 1, "status": "ok", "result": 2,
                "duration_ms": "<duration_ms>"})),
            ("tool_executing", json!({"call_id": "c2", "tool": "tally", "arguments": {"n": "one"}, "effect": "pure"})),
            ("tool_completed", json!({"call_id": "c2", "tool": "tally", "index": 2, "status": "error",
                "error": "tool \"tally\" was given wrong arguments: invalid type: string \"one\", expected i64",
                "duration_ms": "<duration_ms>"})),
            ("agent_completed", json!({"result": {"done": true}, "duration_ms": "<duration_ms>",
                "usage": {"tool_calls": 2, "steps": 1, "events": 9}})),
        ];
        assert_eq!(sent.len(), expected.len());
        for ((seq, (kind, data)), sent) in (1..).zip(expected).zip(sent) {
            assert_eq!(sent, envelope(seq, kind, "talkative", data));
        }
    }

    async fn evt_3_a_failure_a_stop_and_a_child_say_why_and_whose(island: Island) {
        let island = island.class(crate::engine::stage::parent("top", "fail"));
        let ada = island.user("ada");
        let context = context(&ada);
        island.engine(&context).execute_agent(&context, "top", json!(1)).await.unwrap();
        let mut stream = island.factory().events(&ada, context.thread(), 0);
        let log = take(&mut stream, 4).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_started", "agent_failed", "agent_failed"]);
        let failed = json!({"reason": "error", "message": "it does not work", "duration_ms": "<duration_ms>"});
        let mut expected = envelope(3, "agent_failed", "fail", failed);
        expected["parent_run_id"] = json!("<run_id>");
        assert_eq!(sent(&log[2]), expected);
        assert_eq!(log[2].header.parent.as_ref(), Some(context.run()));
    }
}

in_virtual_time! {
    async fn evt_3_a_wait_says_what_for_and_until_when(island: Island) {
        let asking = class("asking", |session, _| async move {
            let question = Question::new("Refund?").choices(["yes", "no"]).expires(Duration::from_secs(60)).or_else("no");
            let answer: String = session.ask(question).await?;
            Ok(json!(answer))
        });
        let island = island.class(asking).limits(|limits| (limits.running, limits.park_after) = (1, Duration::from_secs(90)));
        let ada = island.user("ada");
        let (first, second) = (context(&ada), context(&ada));
        let engine = island.engine(&first);
        let canceller = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            engine.cancel(second.run(), crate::engine::stage::enough()).await.unwrap();
        };
        let (run, stopped, ()) = tokio::join!(
            engine.execute_agent(&first, "asking", json!(1)),
            engine.execute_agent(&second, "asking", json!(1)),
            canceller,
        );
        assert!(run.unwrap().is_success() && !stopped.unwrap().is_success());
        let log: Vec<Value> = log_of(&island, &first).await.iter().map(sent).collect();
        let question = json!({"text": "Refund?", "schema": null, "choices": ["yes", "no"], "expires_after_ms": 60_000,
            "default": "no"});
        let waiting = json!({"waiting_for": "human", "index": 0, "question": question, "until": "<until>"});
        assert_eq!(log[1], envelope(2, "agent_waiting", "asking", waiting));
        assert_eq!(log[3], envelope(4, "step_completed", "asking", json!({"index": 0, "name": "ask", "result": "no"})));
        let log: Vec<Value> = log_of(&island, &second).await.iter().map(sent).collect();
        assert_eq!(log[0], envelope(1, "agent_queued", "asking", json!({"position": 1})));
        let cancelled = json!({"by": "user", "why": "enough", "duration_ms": "<duration_ms>"});
        assert_eq!(log[1], envelope(2, "agent_cancelled", "asking", cancelled));
    }
}
