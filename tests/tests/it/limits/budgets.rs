//! A run spends what it may, its children from the same, and ends when a call would be too much.

use insula_agent::{ToolCall, tool_fn};
use insula_context::{Amounts, Ceiling};
use insula_engine::RunRequest;
use insula_infra::{Event, EventType, FailReason, RunStatus};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::tools::{Weather, flaky, spending};
use crate::{
    engine::stage::{Gate, class, data, held_tool, log_of, no_run_is_left, parent, spec},
    support::{Gauge, Island, context, events_of_run, kinds, on_every_backend},
};

/// Calls the tool `think` for each number of its input, and makes nothing of a refusal.
fn thinker(name: &str) -> AgentClass {
    class(name, |session, input: Value| async move {
        let mut answers = Vec::new();
        for tokens in input.as_array().cloned().unwrap_or_default() {
            answers.push(session.call_tool("think", tokens).await.map_err(|error| error.to_string()));
        }
        Ok(json!(answers))
    })
}

fn warnings(log: &[Event]) -> Vec<Value> {
    log.iter().filter(|event| event.kind == EventType::BudgetWarning).map(data).collect()
}

on_every_backend! {
    async fn a_run_that_would_overspend_ends_with_budget_whatever_its_agent_makes_of_it(island: Island) {
        let calls = Gauge::default();
        let island = island
            .tool(spending(spec("think").cost(Amounts::tokens(40)), &calls))
            .class(thinker("thinker").budget(Ceiling::tokens(100)));
        let context = context(&island.user("ada"));
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "thinker", json!([40, 25, 40, 1])).await.unwrap();
        assert_eq!(outcome.end.reason(), "budget");
        let words = "tool \"think\" was not called: the run may spend 100 tokens and no more";
        assert_eq!(outcome.end.message().as_deref(), Some(words));
        assert_eq!((calls.ever(), outcome.usage.tokens, outcome.spent.tool_calls), (2, 65, 2), "{outcome:?}");
        let log = log_of(&island, &context).await;
        assert_eq!(data(&log[2])["spent"]["tokens"], 40);
        assert_eq!((kinds(&log).last(), log.len()), (Some(&"agent_failed"), 6), "nothing is said of what was refused");
        assert!(warnings(&log).is_empty(), "65 of 100 are not much");
        assert!(engine.refusals()[0].refusal.contains("the run may spend 100 tokens"), "{:?}", engine.refusals());
    }

    async fn it_is_said_once_of_each_unit_that_four_fifths_are_spent(island: Island) {
        let calls = Gauge::default();
        let budget = Ceiling { tokens: Some(100), tool_calls: Some(5), ..Ceiling::default() };
        let island = island.tool(spending(spec("think"), &calls)).class(thinker("thinker").budget(budget));
        let context = context(&island.user("ada"));
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "thinker", json!([50, 30, 5, 1, 0])).await.unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
        let log = log_of(&island, &context).await;
        let tokens = json!({"holder": "run", "unit": "tokens", "spent": 80, "limit": 100});
        let tool_calls = json!({"holder": "run", "unit": "tool_calls", "spent": 4, "limit": 5});
        assert_eq!(warnings(&log), [tokens, tool_calls]);
        let first = log.iter().position(|event| event.kind == EventType::BudgetWarning).unwrap();
        assert_eq!(log[first - 1].kind, EventType::ToolCompleted, "right after the call that did it");
    }

    async fn the_tighter_of_class_and_request_counts_for_each_unit(island: Island) {
        let calls = Gauge::default();
        let budget = Ceiling { tokens: Some(50), tool_calls: Some(9), ..Ceiling::default() };
        let island = island.tool(spending(spec("think"), &calls)).class(thinker("thinker").budget(budget));
        let ada = island.user("ada");
        let asked = Ceiling { tokens: Some(500), tool_calls: Some(2), ..Ceiling::default() };
        let request = |input| RunRequest::new("thinker", input).budget(asked);
        for (input, unit) in [(json!([1, 1, 1]), "2 tool_calls"), (json!([51, 1]), "50 tokens")] {
            let run = island.factory().submit(&ada, request(input)).await.unwrap();
            let failure = island.factory().wait(&ada, &run).await.unwrap().unwrap().failure.unwrap();
            assert_eq!(failure.reason, FailReason::Budget);
            assert!(failure.message.contains(unit), "{failure:?}");
        }
        let run = island.factory().submit(&ada, request(json!([20, 20]))).await.unwrap();
        let record = island.factory().wait(&ada, &run).await.unwrap().unwrap();
        assert_eq!(record.status, RunStatus::Completed);
        let log = events_of_run(island.ports(), &ada, &run).await;
        assert_eq!(data(log.last().unwrap())["usage"]["tokens"], 40);
    }

    async fn children_spend_from_all_above_them_and_no_two_share_the_last(island: Island) {
        let (gauge, gate, calls) = (Gauge::default(), Gate::closed(), Gauge::default());
        let both = class("both", |session, _| async move {
            let one = session.call_agent("thinker", json!([30]));
            let (one, other) = tokio::join!(one, session.call_agent("middle", json!([30])));
            one?;
            other?;
            // What they have left is too little, and the agent makes nothing of that either.
            Ok(json!(session.call_agent("middle", json!([30])).await.err().map(|error| error.to_string())))
        });
        let island = island
            .tool(spending(spec("think").cost(Amounts::tokens(30)), &calls))
            .tool(held_tool(spec("hold"), &gauge, &gate))
            .class(thinker("thinker"))
            .class(parent("middle", "thinker"))
            .class(both.budget(Ceiling::tokens(80)));
        let context = context(&island.user("ada"));
        let outcome = island.engine(&context).execute_agent(&context, "both", json!(1)).await.unwrap();
        assert_eq!((outcome.end.reason(), outcome.spent.tokens, calls.ever()), ("budget", 60, 2), "{outcome:?}");
        assert!(outcome.end.message().unwrap().contains("the run may spend 80 tokens"), "{outcome:?}");
        let log = log_of(&island, &context).await;
        let steps = log.iter().filter(|event| event.kind == EventType::StepCompleted);
        assert_eq!(steps.map(|step| data(step)["spent"]["tokens"].clone()).collect::<Vec<_>>(), [30, 30]);
        let usage = island.ports().usage.usage(context.scope(), i64::MIN, i64::MAX).await.unwrap();
        let spent: Vec<_> = usage.iter().map(|row| (row.agent.as_str(), row.tokens)).collect();
        assert_eq!(spent, [("both", 0), ("middle", 0), ("thinker", 60)], "once, and by whom it was spent");
    }

    async fn what_is_reserved_is_not_there_for_a_call_beside_it_and_comes_back(island: Island) {
        let calls = Gauge::default();
        let beside = class("beside", |session, _| async move {
            let call = || session.call_tool("think", 10);
            let (one, two, three) = tokio::join!(call(), call(), call());
            one.and(two).and(three)
        });
        let after = class("after", |session, _| async move {
            for _ in 0..3 {
                session.call_tool("think", 10).await?;
            }
            Ok(json!(true))
        });
        // Its time is not limited, and its answer comes when all three have begun.
        let tool = tool_fn(spec("think").cost(Amounts::tokens(40)), {
            let calls = calls.clone();
            move |call: ToolCall, tokens: u64| {
                let inside = calls.enter();
                async move {
                    tokio::task::yield_now().await;
                    call.spent(Amounts::tokens(tokens));
                    drop(inside);
                    Ok(json!("thought"))
                }
            }
        });
        let island = island
            .tool(tool)
            .class(beside.budget(Ceiling::tokens(100)))
            .class(after.budget(Ceiling::tokens(100)));
        let ada = island.user("ada");
        let outcome = island.run(&ada, "beside", json!(1)).await;
        assert_eq!((outcome.end.reason(), calls.ever()), ("budget", 2), "40 + 40 + 40 is more than 100");
        assert!(island.run(&ada, "after", json!(1)).await.is_success(), "30 is not");
        no_run_is_left(&island).await;
    }

    async fn a_call_that_fails_has_cost_what_it_reported_and_a_refused_one_nothing(island: Island) {
        let burn = tool_fn(spec("burn"), |call: ToolCall, _: Value| async move {
            call.spent(Amounts { money: 7, ..Amounts::tokens(3) });
            Err::<Value, _>(insula_agent::Error::failed("burnt"))
        });
        let burner = class("burner", |session, _| async move {
            let burnt = session.call_tool("burn", 1).await.is_err();
            Ok(json!([burnt, session.call_tool("nothing", 1).await.is_err()]))
        });
        let island = island.tool(burn).class(burner);
        let outcome = island.run(&island.user("ada"), "burner", json!(1)).await;
        assert_eq!(outcome.result(), Some(&json!([true, true])));
        assert_eq!((outcome.usage.tokens, outcome.usage.money, outcome.spent.tool_calls), (3, 7, 1));
    }

    async fn attempts_of_one_call_are_one_call_and_their_results_count_by_their_size(island: Island) {
        let (weather, calls) = (Weather::storms(2), Gauge::default());
        let policy = insula_agent::RetryPolicy::new(3).first_delay(std::time::Duration::ZERO);
        let island = island
            .tool(flaky(spec("think").retry(policy), &weather, &calls))
            .class(thinker("thinker").budget(Ceiling { bytes: Some(1), ..Ceiling::tool_calls(1) }));
        let outcome = island.run(&island.user("ada"), "thinker", json!([1])).await;
        assert!(outcome.is_success(), "{outcome:?}");
        assert_eq!((outcome.spent.tool_calls, outcome.spent.bytes, calls.ever()), (1, 1, 3));
    }
}
