//! Agents that run agents.

use insula_agent::Error;
use insula_context::MAX_DEPTH;
use insula_infra::RunStatus;
use serde_json::json;

use super::stage::{Gate, class, data, enough, held, log_of, nothing_is_left, parent, spinning};
use crate::support::{
    Gauge, Island, context, events_of_run, in_virtual_time, kinds, log::runs_of, on_every_backend, until,
};

on_every_backend! {
    async fn a_child_is_a_run_of_its_own_in_the_same_thread(island: Island) {
        let island = island.class(parent("top", "echo"));
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "top", json!("salve")).await.unwrap();
        assert_eq!(outcome.result().unwrap()["echo"], "salve");
        assert_eq!(kinds(&log_of(&island, &context).await), ["agent_started", "step_completed", "agent_completed"]);
        let runs = runs_of(island.ports(), &ada).await;
        let child = runs.iter().find(|run| &*run.header.agent == "echo").unwrap();
        assert_eq!((&child.header.parent, &child.header.thread), (&Some(context.run().clone()), context.thread()));
        let log = events_of_run(island.ports(), &ada, &child.header.run).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_completed"]);
        assert!(serde_json::to_value(&log[0]).unwrap()["parent_run_id"] == json!(context.run()));
    }

    async fn depth_ten_is_reachable_and_the_eleventh_level_is_refused_with_the_limit(island: Island) {
        let digger = class("digger", |session, input| async move {
            match session.call_agent("digger", input).await {
                Ok(result) => Ok(result),
                Err(Error::Child { reason, message, .. }) => {
                    Ok(json!({"depth": session.context().depth(), "reason": reason, "message": message}))
                }
                Err(error) => Err(error),
            }
        });
        let island = island.class(digger);
        let ada = island.user("ada");
        let outcome = island.run(&ada, "digger", json!(1)).await;
        let result = outcome.result().unwrap();
        assert_eq!((&result["depth"], &result["reason"]), (&json!(MAX_DEPTH), &json!("refused")));
        let message = result["message"].as_str().unwrap();
        assert!(message.contains("11") && message.contains("10"), "{message}");
        let runs = runs_of(island.ports(), &ada).await;
        assert_eq!(runs.len(), usize::from(MAX_DEPTH) + 1);
        assert!(runs.iter().all(|run| run.status == RunStatus::Completed));
    }

    async fn a_childs_failure_is_the_parents_to_handle(island: Island) {
        let careful = class("careful", |session, input| async move {
            match session.call_agent(input.as_str().unwrap_or_default(), 1).await {
                Err(Error::Child { agent, reason, .. }) => Ok(json!([agent, reason])),
                other => other,
            }
        });
        let island = island.class(careful).class(parent("careless", "fail"));
        let ada = island.user("ada");
        let cases = [("fail", "error"), ("panic", "panic"), ("silent", "returned_nothing"), ("nobody", "refused")];
        for (child, reason) in cases {
            let outcome = island.run(&ada, "careful", json!(child)).await;
            assert_eq!(outcome.result(), Some(&json!([child, reason])));
        }
        let careless = island.run(&ada, "careless", json!(1)).await;
        assert_eq!(careless.end.reason(), "error");
        assert!(careless.end.message().unwrap().contains("it does not work"));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_cancelled_child_is_told_to_its_parent_which_goes_on(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let careful = class("careful", |session, _| async move {
            match session.call_agent("held", 1).await {
                Err(Error::Child { reason, message, .. }) => Ok(json!([reason, message])),
                other => other,
            }
        });
        let island = island.class(held("held", &gauge, &gate)).class(careful);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            until("the child runs", || gauge.now() == 1).await;
            let child = island.factory().isolation_report().live.into_iter().find(|live| live.class == "held").unwrap();
            engine.cancel(&child.run_id, enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "careful", json!(1)), stop);
        assert_eq!(outcome.unwrap().result(), Some(&json!(["cancelled", "enough (user)"])));
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_stopped_parent_waits_for_a_childs_agent_that_does_not_yield(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(spinning("spinning", &gauge, &gate)).class(parent("top", "spinning"));
        let island = island.limits(|limits| limits.grace = std::time::Duration::from_secs(60));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            until("the child spins", || gauge.now() == 1).await;
            engine.cancel(context.run(), enough()).await.unwrap();
            // The child's log has ended with its parent's wish; its agent still spins.
            until("the child has ended", || island.factory().metrics().runs_cancelled == 1).await;
            assert_eq!(gauge.now(), 1);
            gate.open();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "top", json!(1)), stop);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        assert_eq!((gauge.now(), island.factory().metrics().instances_live, island.factory().metrics().agents_abandoned), (0, 0, 0));
    }

    async fn children_run_under_their_parents_permit(island: Island) {
        let fan = class("fan", |session, _| async move {
            let children = (0..8).map(|n| session.call_agent("echo", n));
            let results = futures::future::try_join_all(children).await?;
            Ok(results.iter().map(|result| result["echo"].clone()).collect())
        });
        let island = island.class(fan).class(parent("top", "fan")).limits(|limits| limits.running = 1);
        let ada = island.user("ada");
        let outcome = island.run(&ada, "top", json!(1)).await;
        assert_eq!(outcome.result(), Some(&json!([0, 1, 2, 3, 4, 5, 6, 7])), "in the order in which they were called");
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 10);
        nothing_is_left(&island, &[&ada]).await;
    }
}

in_virtual_time! {
    async fn a_child_that_takes_too_long_ends_with_its_parent_and_before_it(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).class(parent("top", "held"));
        let island = island.limits(|limits| limits.run_time = std::time::Duration::from_secs(5));
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "top", json!(1)).await.unwrap();
        assert_eq!(outcome.end.reason(), "timeout");
        nothing_is_left(&island, &[&ada]).await;
        assert_eq!(gauge.now(), 0);
        let page = island.ports().log.thread_events(&ada, context.thread(), 0, 100).await.unwrap().unwrap();
        let ends: Vec<_> = page.events.iter().filter(|event| event.kind.is_terminal()).collect();
        assert_eq!(ends.len(), 2);
        assert_eq!((&*ends[1].header.agent, &data(ends[1])["reason"]), ("top", &json!("timeout")));
    }
}
