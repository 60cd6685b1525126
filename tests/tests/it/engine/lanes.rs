//! A busy loop costs processor time, and nobody's turn.

use std::time::Duration;

use futures::{FutureExt, future::join_all};
use insula_engine::AgentThreads;
use serde_json::json;

use super::stage::{Gate, class, enough, held_tool, log_of, nothing_is_left, spec, spin_until_open, spinning};
use crate::support::{Gauge, Island, context, kinds, log::runs_of, on_every_backend, until};

on_every_backend! {
    async fn four_busy_loops_on_two_threads_keep_nobody_from_running(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(spinning("spinning", &gauge, &gate)).threads(AgentThreads::Own(2));
        let mallory = island.user("mallory");
        let users = island.users(10);
        let hogs = join_all((0..4).map(|_| island.run(&mallory, "spinning", json!(1))));
        let others = async {
            until("all four spin", || gauge.now() == 4).await;
            let outcomes = join_all(users.iter().map(|scope| island.run(scope, "chatty", json!(1)))).await;
            assert_eq!(gauge.now(), 4, "they spin still");
            gate.open();
            outcomes
        };
        let (hogs, others) = tokio::join!(hogs, others);
        assert!(hogs.iter().chain(&others).all(insula_engine::Outcome::is_success));
        nothing_is_left(&island, &[&mallory]).await;
        assert!(island.run(&mallory, "echo", json!(1)).await.is_success());
        until("the added threads have gone", || island.factory().metrics().agent_threads <= 2).await;
    }

    async fn a_busy_loop_ends_in_time_although_it_cannot_be_stopped(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(spinning("spinning", &gauge, &gate)).threads(AgentThreads::Own(2));
        let island = island.limits(|limits| {
            (limits.run_time, limits.grace, limits.running) = (Duration::from_millis(100), Duration::from_millis(20), 1);
        });
        let (mallory, ada) = (island.user("mallory"), island.user("ada"));
        let context = context(&mallory);
        let engine = island.engine(&context);
        let hog = engine.execute_agent(&context, "spinning", json!(1));
        let (hog, other) = tokio::join!(hog, island.run(&ada, "tools", json!(1)));
        assert_eq!(hog.unwrap().end.reason(), "timeout");
        assert!(other.is_success());
        assert_eq!((gauge.now(), island.factory().metrics().agents_abandoned), (1, 1), "it was abandoned, and says so");
        assert!(island.run(&mallory, "echo", json!(1)).await.is_success(), "the permit is back");
        gate.open();
        drop(engine);
        nothing_is_left(&island, &[&mallory, &ada]).await;
        assert_eq!(kinds(&log_of(&island, &context).await), ["agent_started", "agent_failed"]);
    }

    async fn an_abandoned_agent_that_wakes_up_can_do_nothing_any_more(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let (called, done) = (Gauge::default(), Gate::closed());
        done.open();
        let (inside, opened, asked) = (gauge.clone(), gate.clone(), called.clone());
        let zombie = class("zombie", move |session, _| {
            let (gauge, gate, asked) = (inside.clone(), opened.clone(), asked.clone());
            async move {
                let _inside = gauge.enter();
                spin_until_open(&gate);
                session.think("I am still here");
                session.emit("ghost", json!(1))?;
                // The first poll of a call is where a stopped run must be refused: it is never polled again.
                let _ = session.call_tool("wait", json!(1)).now_or_never();
                let _ = session.call_agent("echo", json!(1)).now_or_never();
                drop(asked.enter());
                Ok(json!(true))
            }
        });
        let island = island.class(zombie).tool(held_tool(spec("wait"), &called, &done));
        let island = island.limits(|limits| limits.grace = Duration::from_millis(10));
        let mallory = island.user("mallory");
        let context = context(&mallory);
        let engine = island.engine(&context);
        let stop = async {
            until("it spins", || gauge.now() == 1).await;
            engine.cancel(context.run(), enough()).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(engine.execute_agent(&context, "zombie", json!(1)), stop);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        gate.open();
        until("it went on to its end", || gauge.now() == 0).await;
        drop(engine);
        nothing_is_left(&island, &[&mallory]).await;
        assert_eq!(called.ever(), 1, "the agent came to its end, and no tool was called");
        assert_eq!(kinds(&log_of(&island, &context).await), ["agent_started", "agent_cancelled"]);
        assert_eq!(runs_of(island.ports(), &mallory).await.len(), 1, "and no child was started");
    }
}
