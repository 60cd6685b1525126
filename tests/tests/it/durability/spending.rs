//! What a run has spent before its worker was lost, it has spent: nothing is paid twice and nothing is forgotten.

use std::time::Duration;

use insula_context::{Amounts, Ceiling, ThreadId};
use insula_infra::{Event, EventType, Holder, RunHeader, RunStatus};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::tape::{header, lost, resumed_to_its_end, started};
use crate::{
    engine::stage::{class, data, spec},
    support::{Island, events_of_run, on_every_backend},
};

fn executing(index: u32) -> (EventType, Value, Value) {
    let said = json!({"call_id": format!("c{index}"), "tool": "think", "arguments": 1, "effect": "pure"});
    (EventType::ToolExecuting, said, Value::Null)
}

fn completed(index: u32, tokens: u64) -> (EventType, Value, Value) {
    let call = json!({
        "call_id": format!("c{index}"), "tool": "think", "index": index, "status": "ok", "result": 1,
        "spent": {"tokens": tokens}, "duration_ms": 0.5,
    });
    (EventType::ToolCompleted, call, Value::Null)
}

/// Calls `think` three times, each for 30 tokens, and answers how often that went well.
fn thinker() -> AgentClass {
    class("thinker", |session, _| async move {
        let mut thoughts = 0;
        for _ in 0..3 {
            thoughts += u32::from(session.call_tool("think", 30).await.is_ok());
        }
        Ok(json!(thoughts))
    })
}

fn stage(island: Island) -> Island {
    let tool =
        insula_agent::tool_fn(spec("think").cost(Amounts::tokens(30)), |call: insula_agent::ToolCall, tokens: u64| {
            call.spent(Amounts::tokens(tokens));
            async move { Ok(json!(1)) }
        });
    island.tool(tool)
}

fn warnings(log: &[Event]) -> Vec<Value> {
    log.iter().filter(|event| event.kind == EventType::BudgetWarning).map(data).collect()
}

on_every_backend! {
    async fn a_resumed_run_goes_on_with_what_it_has_left(island: Island) {
        let ada = island.user("ada");
        let island = stage(island).class(thinker().budget(Ceiling::tokens(100)));
        let enough = vec![started(), executing(0), completed(0, 30), executing(1)];
        let spent = vec![started(), executing(0), completed(0, 60), executing(1)];
        for (events, status, tokens) in [(enough, RunStatus::Completed, 90), (spent, RunStatus::Failed, 0)] {
            let header = header(&ada, "thinker");
            let run = header.run.clone();
            lost(&island, header, "1", &events).await;
            let record = resumed_to_its_end(&island, &ada, &run).await;
            assert_eq!(record.status, status, "{record:?}");
            let log = events_of_run(island.ports(), &ada, &run).await;
            if status == RunStatus::Completed {
                assert_eq!(data(log.last().unwrap())["usage"]["tokens"], tokens);
                assert_eq!(warnings(&log).len(), 1);
            } else {
                assert_eq!(record.failure.unwrap().reason.as_str(), "budget");
                assert_eq!(warnings(&log)[0]["spent"], 90);
            }
        }
    }

    async fn what_was_warned_of_before_is_not_said_again(island: Island) {
        let ada = island.user("ada");
        let island = stage(island).class(thinker().budget(Ceiling::tokens(200)));
        let warning = json!({"holder": "run", "unit": "tokens", "spent": 160, "limit": 200});
        let warned = (EventType::BudgetWarning, warning.clone(), Value::Null);
        let header = header(&ada, "thinker");
        let run = header.run.clone();
        lost(&island, header, "1", &[started(), executing(0), completed(0, 130), warned]).await;
        let record = resumed_to_its_end(&island, &ada, &run).await;
        assert_eq!(record.result.unwrap().get(), "3");
        assert_eq!(warnings(&events_of_run(island.ports(), &ada, &run).await), [warning]);
    }

    async fn an_interrupted_call_is_paid_by_its_user_once(island: Island) {
        let ada = island.user("ada");
        let hour = Duration::from_secs(3_600);
        let island = stage(island).class(thinker());
        let island = island.limits(|limits| limits.user_allowance = Some((Ceiling::tokens(100), hour)));
        let header = header(&ada, "thinker");
        let run = header.run.clone();
        // All three calls are paid here; the first one was reserved by the worker that was lost.
        lost(&island, header, "1", &[started(), executing(0)]).await;
        let allowance =
            insula_infra::Allowance { holder: Holder::User, ceiling: Ceiling::tokens(100), window: hour };
        let amounts = Amounts { tokens: 30, tool_calls: 1, ..Amounts::default() };
        let reservation =
            insula_infra::Reservation { run: run.clone(), index: 0, amounts, allowances: vec![allowance] };
        island.ports().budgets.reserve(&ada, reservation).await.unwrap();
        let record = resumed_to_its_end(&island, &ada, &run).await;
        assert_eq!(record.result.unwrap().get(), "3", "the reservation counts once");
        let balance = island.ports().budgets.balance(&ada, Holder::User).await.unwrap();
        assert_eq!((balance.spent.tokens, balance.spent.tool_calls), (90, 3));
        assert!(balance.reserved.is_zero(), "{balance:?}");
    }

    async fn what_a_lost_child_has_spent_its_parent_has_spent(island: Island) {
        let ada = island.user("ada");
        let above = class("above", |session, _| async move {
            let thoughts = session.call_agent("thinker", 1).await?;
            session.call_tool("think", 30).await?;
            Ok(thoughts)
        });
        let island = stage(island).class(thinker()).class(above.budget(Ceiling::tokens(100)));
        let parent = header(&ada, "above");
        let run = parent.run.clone();
        let hash = insula_infra::PayloadHash::of(format!("{run}/0").as_bytes()).to_string();
        let child = RunHeader {
            run: insula_context::RunId::new(&hash[..32]).unwrap(),
            thread: ThreadId::new(parent.thread.as_str()).unwrap(),
            parent: Some(run.clone()),
            ..header(&ada, "thinker")
        };
        lost(&island, parent, "1", &[started()]).await;
        lost(&island, child, "1", &[started(), executing(0), completed(0, 30)]).await;
        let record = resumed_to_its_end(&island, &ada, &run).await;
        assert_eq!(record.failure.unwrap().reason.as_str(), "budget", "90 of 100 are spent");
        let log = events_of_run(island.ports(), &ada, &run).await;
        let step = log.iter().find(|event| event.kind == EventType::StepCompleted).map(data).unwrap();
        assert_eq!(step["spent"]["tokens"], 90);
        assert_eq!(warnings(&log).len(), 1);
    }
}
