//! What failed is tried again: as often as its policy says, and never what must not be repeated.

use std::time::Duration;

use insula_agent::{Effect, Error as AgentError, Jitter, RetryPolicy, ToolCall, ToolFailure, ToolSpec, tool_fn};
use insula_context::UserScope;
use insula_engine::Outcome;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::tools::{Weather, flaky};
use crate::{
    engine::stage::{Gate, caller, data, enough, held_tool, log_of, spec},
    support::{Gauge, Island, context, in_virtual_time, kinds, on_every_backend, until},
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Four attempts in all, after 1, 2 and 4 seconds.
fn policy() -> RetryPolicy {
    RetryPolicy::new(4).first_delay(secs(1)).jitter(Jitter::None)
}

fn searching(island: Island, spec: ToolSpec, weather: &Weather, calls: &Gauge) -> Island {
    island.tool(flaky(spec, weather, calls)).class(caller("searcher", "search"))
}

/// A run, its log's last `tool_completed`, and how long it took.
async fn watched(island: &Island, ada: &UserScope) -> (Outcome, Value, Duration) {
    let (context, began) = (context(ada), Instant::now());
    let outcome = island.engine(&context).execute_agent(&context, "searcher", json!(1)).await.unwrap();
    let took = began.elapsed();
    let log = log_of(island, &context).await;
    assert_eq!(&kinds(&log)[..3], ["agent_started", "tool_executing", "tool_completed"], "one pair for all attempts");
    assert_eq!(log.len(), 4);
    (outcome, data(&log[2]), took)
}

in_virtual_time! {
    async fn a_call_is_made_again_after_growing_delays_within_one_pair_of_events(island: Island) {
        let (weather, calls) = (Weather::storms(3), Gauge::default());
        let island = searching(island, spec("search").retry(policy()), &weather, &calls);
        let (outcome, said, took) = watched(&island, &island.user("ada")).await;
        assert_eq!(outcome.result(), Some(&json!(4)), "the tool knows which attempt it is");
        assert_eq!((said["status"].clone(), said["attempts"].clone()), (json!("ok"), json!(4)));
        assert_eq!((took, calls.ever(), outcome.usage.tool_calls), (secs(7), 4, 1));
    }

    async fn the_last_attempt_s_error_is_the_call_s_and_may_still_pass(island: Island) {
        let (weather, calls) = (Weather::storms(9), Gauge::default());
        let island = searching(island, spec("search").retry(policy()), &weather, &calls);
        let (outcome, said, _) = watched(&island, &island.user("ada")).await;
        assert_eq!((calls.ever(), said["attempts"].clone()), (4, json!(4)));
        let words = "tool \"search\" failed for now: the search is unavailable: it restarts";
        assert_eq!(outcome.end.message().as_deref(), Some(words));
        let failure = ToolFailure::FailedForNow { message: String::new() };
        assert!(AgentError::Tool { tool: String::new(), failure, cause: None }.is_transient());
    }

    async fn an_attempt_that_takes_too_long_is_followed_by_another(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let tool = spec("search").timeout(secs(10)).retry(RetryPolicy::new(2).first_delay(secs(1)).jitter(Jitter::None));
        let island = island.tool(held_tool(tool, &gauge, &gate)).class(caller("searcher", "search"));
        let (outcome, said, took) = watched(&island, &island.user("ada")).await;
        assert_eq!((outcome.end.reason(), said["status"].clone()), ("timeout", json!("timeout")));
        assert_eq!((took, gauge.ever(), gauge.now()), (secs(21), 2, 0));
    }

    async fn what_must_not_be_repeated_is_not_made_again_after_it_was_made(island: Island) {
        for (effect, made) in [(Effect::Idempotent, 4), (Effect::Once, 1), (Effect::Compensable, 1)] {
            let (weather, calls) = (Weather::storms(9), Gauge::default());
            let backend = island.ports().clone();
            let again = Island::new(backend).threads(insula_engine::AgentThreads::Runtime);
            let again = searching(again, spec("search").effect(effect).retry(policy()), &weather, &calls);
            assert!(!again.run(&again.user("ada"), "searcher", json!(1)).await.is_success());
            assert_eq!(calls.ever(), made, "{effect:?}");
        }
    }

    async fn what_must_not_be_repeated_is_tried_again_when_it_was_refused_before(island: Island) {
        let calls = Gauge::default();
        let limited = calls.clone();
        let tool = tool_fn(spec("search").effect(Effect::Once).retry(policy()), move |call: ToolCall, _: Value| {
            drop(limited.enter());
            async move {
                let failure = ToolFailure::RateLimited { retry_after: secs(30) };
                let refused = AgentError::Tool { tool: "search".to_owned(), failure, cause: None };
                if call.attempt() == 1 { Err(refused) } else { Ok(json!(call.key())) }
            }
        });
        let island = island.tool(tool).class(caller("searcher", "search"));
        let (outcome, said, took) = watched(&island, &island.user("ada")).await;
        assert!(outcome.result().unwrap().as_str().unwrap().ends_with("/0/search"), "{outcome:?}");
        assert_eq!((said["attempts"].clone(), took, calls.ever()), (json!(2), secs(30), 2), "not before it may");
    }

    async fn a_rate_that_is_used_up_is_waited_for_and_nothing_is_said_meanwhile(island: Island) {
        let (weather, calls) = (Weather::default(), Gauge::default());
        let tool = spec("search").rate(1, secs(60)).retry(policy().on(AgentError::is_transient));
        let island = searching(island, tool, &weather, &calls);
        let ada = island.user("ada");
        assert!(island.run(&ada, "searcher", json!(1)).await.is_success());
        let (outcome, said, took) = watched(&island, &ada).await;
        assert!(outcome.is_success() && said.get("attempts").is_none(), "it was called once: {said}");
        assert!(took > secs(50) && took <= secs(61), "{took:?}");
        assert_eq!(said["duration_ms"], json!(0.0));
    }

    async fn no_attempt_is_waited_for_that_the_run_s_deadline_comes_before(island: Island) {
        let (weather, calls) = (Weather::storms(9), Gauge::default());
        let island = searching(island, spec("search").retry(policy()), &weather, &calls);
        let island = island.limits(|limits| limits.run_time = secs(5));
        let (outcome, _, took) = watched(&island, &island.user("ada")).await;
        assert_eq!((outcome.end.reason(), calls.ever(), took), ("error", 3, secs(3)));
    }

    async fn a_run_that_is_stopped_between_two_attempts_tries_no_more(island: Island) {
        let (weather, calls) = (Weather::storms(9), Gauge::default());
        let island = searching(island, spec("search").retry(policy().first_delay(secs(1_000))), &weather, &calls);
        let ada = island.user("ada");
        let (context, began) = (context(&ada), Instant::now());
        let engine = island.engine(&context);
        let stop = async {
            until("it was tried once", || calls.ever() == 1 && calls.now() == 0).await;
            island.factory().cancel(&ada, context.run(), enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "searcher", json!(1)), stop);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        assert!(began.elapsed() < secs(1), "{:?}", began.elapsed());
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "tool_executing", "tool_completed", "agent_cancelled"]);
        tokio::time::sleep(secs(5_000)).await;
        assert_eq!(calls.ever(), 1);
    }
}

on_every_backend! {
    async fn without_a_policy_nothing_is_tried_again(island: Island) {
        let (weather, calls) = (Weather::storms(1), Gauge::default());
        let island = searching(island, spec("search"), &weather, &calls);
        let (outcome, said, _) = watched(&island, &island.user("ada")).await;
        assert!(!outcome.is_success());
        assert!(said.get("attempts").is_none() && said.get("spent").is_none(), "{said}");
        assert_eq!(calls.ever(), 1);
    }
}
