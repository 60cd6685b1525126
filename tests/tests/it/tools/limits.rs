//! Permissions, rates, places and time.

use std::time::Duration;

use futures::future::join_all;
use insula_agent::{Error as AgentError, ToolFailure, tool_fn};
use insula_context::UserScope;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    engine::stage::{Gate, caller, class, data, held_tool, log_of, nothing_is_left, spec},
    support::{Gauge, Island, context, in_virtual_time, kinds, on_every_backend, until},
};

fn mirror(spec: insula_agent::ToolSpec) -> impl insula_agent::Tool + 'static {
    tool_fn(spec, |_, arguments: Value| async move { Ok(arguments) })
}

/// Calls a tool from inside of an agent and through the dispatcher, and holds that both are refused in these words, that
/// no execution is told of, and that both are in the audit.
async fn refused_everywhere(island: &Island, scope: &UserScope, class: &str, tool: &str, words: &str) {
    let context = context(scope);
    let next = context.next_run();
    let engine = island.engine(&context);
    let audited = engine.refusals().len();
    let inside = engine.execute_agent(&context, class, json!(1)).await.unwrap();
    assert!(inside.end.message().is_some_and(|message| message.contains(words)), "{inside:?}");
    let outside = engine.tool_dispatcher().unwrap().call(&next, tool, json!(1)).await.unwrap();
    assert!(outside.as_ref().is_err_and(|error| error.to_string().contains(words)), "{outside:?}");
    for context in [&context, &next] {
        let log = log_of(island, context).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_failed"], "no event of an execution");
    }
    let refusals = engine.refusals();
    assert_eq!(refusals.len() - audited, 2);
    assert!(refusals[audited..].iter().all(|entry| entry.refusal.contains(words) && entry.action.contains(tool)));
    assert_eq!(engine.stats().tool_calls, 0, "nothing was called");
}

on_every_backend! {
    async fn tool_4_without_its_permission_a_tool_is_refused_by_name_on_every_path(island: Island) {
        let island = island.tool(mirror(spec("pay").permission("billing"))).class(caller("payer", "pay"));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let island = island.tools(|tools| tools.grant(bob.clone(), "billing").grant(ada.clone(), "bill"));
        refused_everywhere(&island, &ada, "payer", "pay", "needs the permission \"billing\"").await;
        assert!(island.run(&bob, "payer", json!(1)).await.is_success());
        assert!(island.engine(&context(&bob)).refusals().is_empty(), "hers are not his");
        nothing_is_left(&island, &[&ada, &bob]).await;
    }

    async fn tool_4_more_calls_in_flight_than_allowed_are_refused_for_this_user_only(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.tool(held_tool(spec("wait").in_flight(2), &gauge, &gate)).class(caller("calling", "wait"));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let anchor = island.engine(&context(&ada));
        let two = join_all((0..2).map(|_| island.run(&ada, "calling", json!(1))));
        let more = async {
            until("two calls are in flight", || gauge.now() == 2).await;
            refused_everywhere(&island, &ada, "calling", "wait", "is in use as often as it may be at once (2)").await;
            let his = island.run(&bob, "calling", json!(1));
            let open = async {
                until("his is called", || gauge.now() == 3).await;
                gate.open();
            };
            tokio::join!(his, open).0
        };
        let (two, his) = tokio::join!(two, more);
        assert!(two.iter().all(insula_engine::Outcome::is_success) && his.is_success());
        assert!(island.run(&ada, "calling", json!(1)).await.is_success(), "the places are back");
        assert_eq!(gauge.ever(), 4);
        drop(anchor);
        nothing_is_left(&island, &[&ada, &bob]).await;
    }

    async fn tool_4_a_user_has_so_many_calls_in_flight_over_all_tools_and_engines(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.limits(|limits| limits.tool_calls = 2).class(caller("calling", "wait"));
        let island = island.tool(held_tool(spec("wait"), &gauge, &gate)).tool(mirror(spec("other")));
        let island = island.class(caller("other", "other"));
        let ada = island.user("ada");
        let anchor = island.engine(&context(&ada));
        let two = join_all((0..2).map(|_| island.run(&ada, "calling", json!(1))));
        let more = async {
            until("two calls are in flight", || gauge.now() == 2).await;
            refused_everywhere(&island, &ada, "other", "other", "is in use as often as it may be at once (2)").await;
            gate.open();
        };
        let (two, ()) = tokio::join!(two, more);
        assert!(two.iter().all(insula_engine::Outcome::is_success));
        assert!(island.run(&ada, "other", json!(1)).await.is_success(), "the places are back");
        drop(anchor);
    }

    async fn tool_4_more_calls_in_a_window_than_allowed_are_refused_and_say_when_to_come_back(island: Island) {
        let hour = Duration::from_secs(3_600);
        let island = island.tool(mirror(spec("search").rate(3, hour))).class(caller("calling", "search"));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        for _ in 0..3 {
            assert!(island.run(&ada, "calling", json!(1)).await.is_success());
        }
        refused_everywhere(&island, &ada, "calling", "search", "was called too often, come back in").await;
        let fourth = context(&ada);
        let engine = island.engine(&fourth);
        let answer = engine.tool_dispatcher().unwrap().call(&fourth, "search", json!(1)).await.unwrap();
        let Err(AgentError::Tool { failure: ToolFailure::RateLimited { retry_after }, .. }) = answer else { panic!("{answer:?}") };
        assert!(retry_after <= hour && retry_after > hour / 2, "{retry_after:?}");
        assert!(island.run(&bob, "calling", json!(1)).await.is_success(), "his window is his own");
    }

    async fn tool_5_a_tool_past_its_time_is_stopped_on_threads_of_their_own_as_well(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.tool(held_tool(spec("wait").timeout(Duration::from_millis(30)), &gauge, &gate));
        let island = island.class(caller("calling", "wait"));
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "calling", json!(1)).await.unwrap();
        assert_eq!((outcome.end.reason(), gauge.now()), ("timeout", 0));
        assert_eq!(data(&log_of(&island, &context).await[2])["status"], "timeout");
    }
}

in_virtual_time! {
    async fn tool_5_a_tool_past_its_time_limit_is_stopped_and_the_agent_decides(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let careful = class("careful", |session, _| async move {
            match session.call_tool("wait", json!(1)).await {
                Err(AgentError::Tool { failure: ToolFailure::Timeout { after }, .. }) => Ok(json!(after.as_secs())),
                other => other,
            }
        });
        let limited = spec("wait").timeout(Duration::from_secs(5));
        let island = island.tool(held_tool(limited, &gauge, &gate)).class(careful);
        let ada = island.user("ada");
        let (context, began) = (context(&ada), Instant::now());
        let outcome = island.engine(&context).execute_agent(&context, "careful", json!(1)).await.unwrap();
        assert_eq!((outcome.result(), began.elapsed().as_secs()), (Some(&json!(5)), 5));
        assert_eq!(gauge.now(), 0, "it has really stopped");
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "tool_executing", "tool_completed", "agent_completed"]);
        assert_eq!((&data(&log[2])["status"], &data(&log[2])["duration_ms"]), (&json!("timeout"), &json!(5_000.0)));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn tool_4_the_window_ends_and_calls_are_accepted_again(island: Island) {
        let island = island.tool(mirror(spec("search").rate(1, Duration::from_secs(60)))).class(caller("calling", "search"));
        let ada = island.user("ada");
        assert!(island.run(&ada, "calling", json!(1)).await.is_success());
        assert!(!island.run(&ada, "calling", json!(1)).await.is_success());
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(island.run(&ada, "calling", json!(1)).await.is_success());
    }
}
