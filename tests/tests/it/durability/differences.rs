//! What a resumed run is told of its past, and what happens when code and record do not fit.

use insula_agent::Effect;
use insula_engine::RunRequest;
use insula_infra::{Event, EventType, FailReason, RunStatus};
use serde_json::{Value, json};

use super::{
    story::{Ledger, versioned},
    tape::{header, lost, resumed_to_its_end, started},
};
use crate::{
    engine::stage::{class, data, nothing_is_left},
    support::{Island, events_of_run, kinds, on_every_backend},
};

/// An event that was recorded.
fn was(kind: EventType, data: Value) -> (EventType, Value, Value) {
    (kind, data, Value::Null)
}

fn stepped(name: &str, result: Value) -> (EventType, Value, Value) {
    was(EventType::StepCompleted, json!({"index": 0, "name": name, "result": result}))
}

fn called(tool: &str) -> [(EventType, Value, Value); 2] {
    let executing = json!({"call_id": "c0", "tool": tool, "arguments": 1, "effect": "pure"});
    let completed = json!({"call_id": "c0", "tool": tool, "index": 0, "status": "ok", "result": 1, "duration_ms": 1.0});
    [was(EventType::ToolExecuting, executing), was(EventType::ToolCompleted, completed)]
}

on_every_backend! {
    async fn a_call_that_is_not_the_recorded_one_fails_the_run_even_if_the_agent_makes_nothing_of_it(island: Island) {
        let ledger = Ledger::default();
        let careless = class("careless", |session, _| async move {
            let plan = session.step("plan", Effect::Pure, async || Ok(json!("new"))).await;
            let paid = session.call_tool("pay", json!(1)).await;
            Ok(json!([plan.is_ok(), paid.is_ok()]))
        });
        let island = island.class(careless).tool(ledger.tool("pay", Effect::Once, || Ok(json!(1))));
        let ada = island.user("ada");
        let pause = was(EventType::AgentWaiting, json!({"waiting_for": "timer", "index": 0}));
        let child = json!({"index": 0, "name": "plan", "kind": "agent", "result": 1});
        let table = [
            (vec![stepped("scheme", json!(1))], "the step \"scheme\""),
            (called("plan").to_vec(), "the tool \"plan\""),
            (vec![pause], "a pause"),
            (vec![was(EventType::StepCompleted, child)], "the agent \"plan\""),
        ];
        for (recorded, was) in table {
            let header = header(&ada, "careless");
            let run = header.run.clone();
            lost(&island, header, "1", &[vec![started()], recorded].concat()).await;
            let failure = resumed_to_its_end(&island, &ada, &run).await.failure.expect("it fails");
            let now = "is called now";
            let expected = format!("the run diverged: {was} was recorded where the step \"plan\" (call 0) {now}");
            assert_eq!((failure.reason, failure.message), (FailReason::Error, expected));
        }
        assert!(ledger.keys(&ada, "pay").is_empty(), "nothing is done after that");
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_run_is_resumed_on_its_version_or_not_at_all(island: Island) {
        let island = island.class(versioned("modern", "2", |_, _| async { Ok(json!("two")) }));
        let ada = island.user("ada");
        let old = header(&ada, "modern");
        let run = old.run.clone();
        lost(&island, old, "2", &[started()]).await;
        let failure = resumed_to_its_end(&island, &ada, &run).await.failure.expect("it fails");
        let expected = "the run was started on version \"1\" of \"modern\", and version \"2\" is here now";
        assert_eq!((failure.reason, &*failure.message), (FailReason::Error, expected));
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_failed"]);

        // One that has only been in the queue starts on whatever is there.
        let queued = header(&ada, "modern");
        let run = queued.run.clone();
        lost(&island, queued, "1", &[was(EventType::AgentQueued, json!({"position": 1}))]).await;
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Completed);
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!(kinds(&log), ["agent_queued", "agent_started", "agent_completed"]);
    }

    async fn an_agent_knows_whether_it_is_replaying(island: Island) {
        let curious = class("curious", |session, _| async move {
            let before = session.replaying();
            let plan: Value = session.step("plan", Effect::Pure, async || Ok(json!("new"))).await?;
            Ok(json!([before, plan, session.replaying()]))
        });
        let island = island.class(curious);
        let ada = island.user("ada");
        let resumed = header(&ada, "curious");
        let run = resumed.run.clone();
        lost(&island, resumed, "1", &[started(), stepped("plan", json!("old"))]).await;
        let record = resumed_to_its_end(&island, &ada, &run).await;
        assert_eq!(record.result.unwrap().get(), r#"[true,"old",false]"#);
        let fresh = island.factory().submit(&ada, RunRequest::new("curious", json!(1))).await.unwrap();
        let record = resumed_to_its_end(&island, &ada, &fresh).await;
        assert_eq!(record.result.unwrap().get(), r#"[false,"new",false]"#);
    }

    async fn a_once_step_whose_beginning_is_not_recorded_was_never_begun(island: Island) {
        let careful = class("careful", |session, _| async move {
            let plan: Value = session.step("plan", Effect::Pure, async || Ok(json!("new"))).await?;
            let paid: Value = session.step("pay", Effect::Once, async || Ok(json!("paid"))).await?;
            Ok(json!([plan, paid]))
        });
        let island = island.class(careful);
        let ada = island.user("ada");
        let resumed = header(&ada, "careful");
        let run = resumed.run.clone();
        lost(&island, resumed, "1", &[started(), stepped("plan", json!("old"))]).await;
        let record = resumed_to_its_end(&island, &ada, &run).await;
        assert_eq!(record.result.unwrap().get(), r#"["old","paid"]"#);
        let log = events_of_run(island.ports(), &ada, &run).await;
        let expected =
            ["agent_started", "step_completed", "agent_resumed", "step_started", "step_completed", "agent_completed"];
        assert_eq!(kinds(&log), expected);
    }

    async fn a_recorded_failure_of_a_tool_fails_again_in_the_same_way(island: Island) {
        let island = island.class(crate::engine::stage::caller("calling", "slow"));
        let ada = island.user("ada");
        let resumed = header(&ada, "calling");
        let run = resumed.run.clone();
        let [executing, (kind, mut completed, _)] = called("slow");
        (completed["status"], completed["error"]) = (json!("timeout"), json!("shown"));
        let failure = json!({"timeout": {"after": {"secs": 3, "nanos": 0}}});
        lost(&island, resumed, "1", &[started(), executing, (kind, completed, failure)]).await;
        let failure = resumed_to_its_end(&island, &ada, &run).await.failure.expect("it fails");
        assert_eq!((failure.reason, &*failure.message), (FailReason::Timeout, "tool \"slow\" did not finish within 3s"));
    }

    async fn an_interrupted_call_of_a_tool_that_is_gone_has_its_end_in_the_log(island: Island) {
        let island = island.class(crate::engine::stage::caller("calling", "vanished"));
        let ada = island.user("ada");
        let resumed = header(&ada, "calling");
        let run = resumed.run.clone();
        let [executing, _] = called("vanished");
        lost(&island, resumed, "1", &[started(), executing]).await;
        let failure = resumed_to_its_end(&island, &ada, &run).await.failure.expect("it fails");
        assert!(failure.message.starts_with("tool \"vanished\" does not exist"), "{failure:?}");
        let log: Vec<Event> = events_of_run(island.ports(), &ada, &run).await;
        let expected = ["agent_started", "tool_executing", "agent_resumed", "tool_completed", "agent_failed"];
        assert_eq!((kinds(&log), &data(&log[3])["status"]), (expected.to_vec(), &json!("error")));
    }

    async fn a_call_that_is_open_when_a_lost_run_is_stopped_is_aborted(island: Island) {
        let island = island.class(crate::engine::stage::caller("calling", "tally"));
        let ada = island.user("ada");
        let stopped = header(&ada, "calling");
        let run = stopped.run.clone();
        let [executing, _] = called("tally");
        lost(&island, stopped, "1", &[started(), executing]).await;
        island.ports().runs.request_cancel(&ada, &run, crate::engine::stage::enough()).await.unwrap();
        assert_eq!(resumed_to_its_end(&island, &ada, &run).await.status, RunStatus::Cancelled);
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!(kinds(&log), ["agent_started", "tool_executing", "tool_completed", "agent_cancelled"]);
        assert_eq!(data(&log[2])["status"], "aborted");
    }
}
