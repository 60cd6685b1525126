//! Stop stops, in whatever state it finds a run.

use insula_context::{CancelReason, Canceller, UserExecutionContext};
use insula_engine::{End, Outcome};
use insula_infra::{CancelRequest, RunStatus};
use serde_json::json;

use super::stage::{
    Gate, caller, class, data, enough, held, held_tool, log_of, nothing_is_left, parent, record_of, spec, spinning,
};
use crate::support::{Gauge, Island, context, events_of_run, kinds, log::runs_of, on_every_backend, until};

/// Starts a class, waits until it is where it is to be stopped, and stops it.
async fn stop_when(
    island: &Island,
    context: &UserExecutionContext,
    class: &str,
    what: &str,
    there: impl FnMut() -> bool,
) -> Outcome {
    let engine = island.engine(context);
    let run = engine.execute_agent(context, class, json!({"n": 1}));
    let stop = async {
        until(what, there).await;
        engine.cancel(context.run(), enough()).await.unwrap()
    };
    let (outcome, answer) = tokio::join!(run, stop);
    assert_eq!(answer, CancelRequest::Recorded);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.end, End::Cancelled(enough()));
    outcome
}

/// Waits until a run has said something of this kind.
async fn until_said(island: &Island, context: &UserExecutionContext, kind: &str) {
    let mut events = island.factory().events(context.scope(), context.thread(), 0);
    loop {
        match events.next().await.unwrap() {
            Some(insula_engine::StreamItem::Event(event)) if event.kind.as_str() == kind => return,
            Some(_) => {}
            None => panic!("the thread's stream ended"),
        }
    }
}

on_every_backend! {
    async fn stop_before_the_start_and_the_agent_never_runs(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let canceller = Canceller::new();
        let fresh = context(&ada);
        let builder = UserExecutionContext::builder(ada.clone(), fresh.thread().clone(), fresh.run().clone());
        let stopped = builder.cancellation(canceller.cancellation()).build().unwrap();
        canceller.cancel(enough());
        let outcome = island.engine(&fresh).execute_agent(&stopped, "held", json!(1)).await.unwrap();
        assert_eq!(outcome.end, End::Cancelled(enough()));
        assert_eq!(kinds(&log_of(&island, &fresh).await), ["agent_cancelled"]);
        assert_eq!(gauge.ever(), 0);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn stop_while_waiting_for_a_turn_and_the_next_in_line_gets_it(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).limits(|limits| limits.running = 1);
        let ada = island.user("ada");
        let (first, second, third) = (context(&ada), context(&ada), context(&ada));
        let engine = island.engine(&first);
        let (first_run, second_run) =
            (engine.execute_agent(&first, "held", json!(1)), engine.execute_agent(&second, "held", json!(2)));
        let third_run = engine.execute_agent(&third, "held", json!(3));
        let stop = async {
            until("one runs and two wait", || (gauge.now(), engine.stats().active) == (1, 3)).await;
            engine.cancel(second.run(), enough()).await.unwrap();
            until("the second one has gone", || engine.stats().active == 2).await;
            gate.open();
        };
        let (one, two, three, ()) = tokio::join!(first_run, second_run, third_run, stop);
        let ends = [one, two, three].map(|outcome| outcome.unwrap().end.reason());
        assert_eq!(ends, ["completed", "cancelled", "completed"]);
        assert_eq!(kinds(&log_of(&island, &second).await), ["agent_cancelled"]);
        assert_eq!((gauge.ever(), gauge.most()), (2, 1));
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn stop_while_running_drops_the_agent(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        stop_when(&island, &context, "held", "it runs", || gauge.now() == 1).await;
        assert_eq!(gauge.now(), 0, "its work has really stopped");
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "agent_cancelled"]);
        assert_eq!((&data(&log[1])["by"], &data(&log[1])["why"]), (&json!("user"), &json!("enough")));
        let record = record_of(&island, &context).await;
        assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn stop_in_a_tool_closes_its_guard_before_the_end(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(caller("caller", "wait")).tool(held_tool(spec("wait"), &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        stop_when(&island, &context, "caller", "the tool is called", || gauge.now() == 1).await;
        assert_eq!(gauge.now(), 0, "the tool has really stopped");
        let log = log_of(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "tool_executing", "tool_completed", "agent_cancelled"]);
        assert_eq!(data(&log[2])["status"], "aborted");
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn stop_in_a_grandchild_ends_the_whole_tree(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).class(parent("middle", "held"));
        let island = island.class(parent("top", "middle"));
        let ada = island.user("ada");
        let context = context(&ada);
        stop_when(&island, &context, "top", "the grandchild runs", || gauge.now() == 1).await;
        until("the grandchild has gone", || gauge.now() == 0).await;
        nothing_is_left(&island, &[&ada]).await;
        let runs = runs_of(island.ports(), &ada).await;
        assert_eq!(runs.len(), 3);
        for run in runs {
            assert_eq!(run.status, RunStatus::Cancelled);
            let log = events_of_run(island.ports(), &ada, &run.header.run).await;
            assert_eq!(kinds(&log), ["agent_started", "agent_cancelled"], "{}", run.header.agent);
            assert_eq!(run.cancel, Some(enough()), "who stopped it is known all the way down");
        }
    }

    async fn stop_in_a_question_or_a_pause(island: Island) {
        let asking = class("asking", |session, _| async move {
            session.ask::<serde_json::Value>(insula_agent::Question::new("well?")).await
        });
        let pausing = class("pausing", |session, _| async move {
            session.sleep(std::time::Duration::from_secs(3_600)).await?;
            Ok(json!(true))
        });
        let island = island.class(asking).class(pausing);
        let ada = island.user("ada");
        for class in ["asking", "pausing"] {
            let context = context(&ada);
            let engine = island.engine(&context);
            let stop = async {
                until_said(&island, &context, "agent_waiting").await;
                engine.cancel(context.run(), enough()).await.unwrap();
            };
            let (outcome, ()) = tokio::join!(engine.execute_agent(&context, class, json!(1)), stop);
            assert_eq!(outcome.unwrap().end, End::Cancelled(enough()));
            let log = kinds(&log_of(&island, &context).await);
            assert_eq!(log, ["agent_started", "agent_waiting", "agent_cancelled"], "{class}");
            let late = island.factory().answer(&ada, context.run(), insula_engine::AnswerTo::the_oldest("late")).await;
            assert_eq!(late.unwrap(), None, "nobody waits for an answer");
        }
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn stop_twice_keeps_the_first_reason_and_after_the_end_says_how_it_ended(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(spinning("spinning", &gauge, &gate)).limits(|limits| {
            limits.grace = std::time::Duration::from_secs(60);
        });
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let stop = async {
            until("it runs", || gauge.now() == 1).await;
            for why in ["enough", "really"] {
                engine.cancel(context.run(), CancelReason::new("user", why)).await.unwrap();
            }
            gate.open();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "spinning", json!(1)), stop);
        assert_eq!(outcome.unwrap().end, End::Cancelled(enough()));
        let after = engine.cancel(context.run(), enough()).await.unwrap();
        assert_eq!(after, CancelRequest::Ended(RunStatus::Cancelled));
        assert_eq!(log_of(&island, &context).await.len(), 2);
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn stop_of_an_unknown_or_foreign_run_answers_as_if_there_were_none(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let (hers, his) = (context(&ada), context(&bob));
        let (engine, other) = (island.engine(&hers), island.engine(&his));
        let pry = async {
            until("it runs", || gauge.now() == 1).await;
            assert_eq!(other.cancel(hers.run(), enough()).await.unwrap(), CancelRequest::Ahead);
            assert_eq!(other.cancel(his.run(), enough()).await.unwrap(), CancelRequest::Ahead);
            gate.open();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&hers, "held", json!(1)), pry);
        assert!(outcome.unwrap().is_success());
    }

    async fn an_engine_that_is_shut_down_stops_its_runs_and_only_those(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let (hers, his) = (context(&ada), context(&bob));
        let (engine, other) = (island.engine(&hers), island.engine(&his));
        let shut = async {
            until("both run", || gauge.now() == 2).await;
            assert!(engine.shutdown().is_empty());
            until("hers has stopped", || gauge.now() == 1).await;
            gate.open();
        };
        let (one, two) = (engine.execute_agent(&hers, "held", json!(1)), other.execute_agent(&his, "held", json!(1)));
        let (one, two, ()) = tokio::join!(one, two, shut);
        assert_eq!(one.unwrap().end.reason(), "cancelled");
        assert!(two.unwrap().is_success());
        assert!(matches!(engine.execute_agent(&hers, "echo", json!(1)).await, Err(insula_engine::Error::ShutDown)));
        drop((engine, other));
        nothing_is_left(&island, &[&ada, &bob]).await;
    }

    async fn an_engine_that_is_dropped_stops_what_its_dispatcher_still_does(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.tool(held_tool(spec("wait"), &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let dispatcher = engine.tool_dispatcher().unwrap();
        let leave = async {
            until("the tool is called", || gauge.now() == 1).await;
            drop(engine);
        };
        let (answer, ()) = tokio::join!(dispatcher.call(&context, "wait", json!({"n": 1})), leave);
        assert!(answer.unwrap().is_err());
        assert_eq!(gauge.now(), 0);
        let log = kinds(&log_of(&island, &context).await);
        assert_eq!(log, ["agent_started", "tool_executing", "tool_completed", "agent_cancelled"]);
        drop(dispatcher);
        nothing_is_left(&island, &[&ada]).await;
    }
}
