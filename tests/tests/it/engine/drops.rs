//! Whoever waits for a run may go at any moment. The run ends all the same.

use futures::{FutureExt, poll};
use insula_engine::{AgentThreads, Limits};
use insula_infra::RunStatus;
use serde_json::json;

use super::stage::{
    Gate, caller, class, data, ended_log, enough, held, held_tool, log_of, no_run_is_left, nothing_is_left, record_of,
    spec, spinning,
};
use crate::support::{Gauge, Island, context, in_virtual_time, kinds, on_every_backend, until};

/// Does a bit of everything, and yields in between.
fn busy() -> insula_registry::AgentClass {
    class("busy", |session, _| async move {
        session.think("beginning");
        for n in 0..3 {
            tokio::task::yield_now().await;
            session.call_tool("tally", json!({"n": n})).await?;
            session.call_agent("tools", json!(n)).await?;
        }
        let (one, two) = tokio::join!(session.call_tool("tally", json!({"n": 1})), session.call_agent("echo", 1));
        one.and(two)?;
        Ok(json!(true))
    })
}

/// One run and three calls at a time, and few in the line: a permit that does not come back is missed soon.
fn one_at_a_time(limits: &mut Limits) {
    (limits.running, limits.waiting, limits.tool_calls, limits.engines) = (1, 2, 3, 2);
}

/// Drops an execution after it was polled for `polls` turns of the runtime, and holds what must hold then.
async fn drop_after(island: &Island, scope: &insula_context::UserScope, polls: usize) {
    let context = context(scope);
    let engine = island.engine(&context);
    let mut execution = engine.execute_agent(&context, "busy", json!(1)).boxed();
    for _ in 0..polls {
        if poll!(&mut execution).is_ready() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(execution);
    drop(engine);
    no_run_is_left(island).await;
    let log = if polls > 0 { ended_log(island, &context).await } else { log_of(island, &context).await };
    let ends = log.iter().filter(|event| event.kind.is_terminal()).count();
    assert_eq!(ends, usize::from(polls > 0), "dropped after {polls} polls: {:?}", kinds(&log));
}

in_virtual_time! {
    async fn an_execution_dropped_after_any_number_of_polls_has_one_end_and_leaves_nothing(island: Island) {
        let island = island.class(busy()).limits(one_at_a_time);
        let ada = island.user("ada");
        let anchor = island.engine(&context(&ada));
        for polls in 0..120 {
            drop_after(&island, &ada, polls).await;
        }
        assert!(island.run(&ada, "busy", json!(1)).await.is_success(), "the permits are back");
        drop(anchor);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_dropped_execution_drops_its_agent_on_the_runtime_too(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut execution = engine.execute_agent(&context, "held", json!(1)).boxed();
        while gauge.now() == 0 {
            assert!(poll!(&mut execution).is_pending());
            tokio::task::yield_now().await;
        }
        drop(execution);
        until("the agent has gone", || gauge.now() == 0).await;
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }
}

on_every_backend! {
    async fn an_execution_dropped_at_a_random_moment_has_one_end_and_leaves_nothing(island: Island) {
        let island = island.class(busy()).limits(one_at_a_time).threads(AgentThreads::Own(2));
        let ada = island.user("ada");
        // A fixed scramble of 1..=60, so that a failure is found again.
        let anchor = island.engine(&context(&ada));
        for n in 1..=30 {
            drop_after(&island, &ada, n * 37 % 61).await;
        }
        assert!(island.run(&ada, "busy", json!(1)).await.is_success(), "the permits are back");
        drop(anchor);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn an_execution_dropped_in_a_tool_says_how_the_call_and_the_run_ended(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(caller("caller", "wait")).tool(held_tool(spec("wait"), &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut execution = engine.execute_agent(&context, "caller", json!(1)).boxed();
        while gauge.now() == 0 {
            assert!(poll!(&mut execution).is_pending());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(execution);
        until("the tool has stopped", || gauge.now() == 0).await;
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
        let log = ended_log(&island, &context).await;
        assert_eq!(kinds(&log), ["agent_started", "tool_executing", "tool_completed", "agent_cancelled"]);
        assert_eq!((&data(&log[2])["status"], &data(&log[3])["by"]), (&json!("aborted"), &json!("caller")));
    }

    async fn an_execution_dropped_while_its_agent_is_being_stopped_still_has_its_end(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(spinning("spinning", &gauge, &gate)).limits(|limits| {
            limits.grace = std::time::Duration::from_secs(60);
        });
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut execution = engine.execute_agent(&context, "spinning", json!(1)).boxed();
        while gauge.now() == 0 {
            assert!(poll!(&mut execution).is_pending());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        engine.cancel(context.run(), enough()).await.unwrap();
        assert!(poll!(&mut execution).is_pending(), "the agent does not let itself be stopped");
        drop(execution);
        gate.open();
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
        assert_eq!(kinds(&ended_log(&island, &context).await), ["agent_started", "agent_cancelled"]);
        let record = record_of(&island, &context).await;
        assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(enough())));
    }

    async fn a_dropped_execution_is_counted_like_any_other_that_was_stopped(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut execution = engine.execute_agent(&context, "held", json!(1)).boxed();
        while gauge.now() == 0 {
            assert!(poll!(&mut execution).is_pending());
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        drop(execution);
        let (stats, metrics) = (engine.stats(), island.factory().metrics());
        assert_eq!((metrics.runs_started, metrics.runs_cancelled), (1, 1));
        assert_eq!((stats.runs, stats.cancelled, stats.active), (1, 1, 0));
        assert_eq!(engine.history().last().map(|run| run.end), Some("cancelled"));
    }
}
