//! Visible after the commit, never before it, and never when it fails.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::poll;
use insula_agent::Effect;
use insula_engine::Error;
use insula_infra::{Append, Commit, Error as InfraError, RunQueue, conformance::QueueLayer};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::order::take;
use crate::{
    engine::stage::{Gate, caller, class, log_of, nothing_is_left, spec},
    support::{Island, context, kinds, log::runs_of, on_every_backend, until},
};

/// The real queue behind a writer that takes its time, or that fails.
struct Slow {
    queue: Arc<dyn RunQueue>,
    gate: Gate,
    fails: bool,
    /// Appends become durable in order.
    turn: Arc<tokio::sync::Mutex<()>>,
    waiting: Mutex<usize>,
}

impl Slow {
    fn of(queue: &Arc<dyn RunQueue>, gate: &Gate, fails: bool) -> Arc<Self> {
        let (queue, gate) = (Arc::clone(queue), gate.clone());
        Arc::new(Self { queue, gate, fails, turn: Arc::default(), waiting: Mutex::default() })
    }

    fn waiting(&self) -> usize {
        *self.waiting.lock().unwrap()
    }
}

#[async_trait]
impl QueueLayer for Slow {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.queue
    }

    fn append(&self, append: Append) -> Commit {
        *self.waiting.lock().unwrap() += 1;
        let (answer, commit) = oneshot::channel();
        let (queue, gate, turn, fails) =
            (Arc::clone(&self.queue), self.gate.clone(), Arc::clone(&self.turn), self.fails);
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            gate.passed().await;
            let gone = InfraError::Unavailable { operation: "append", component: "the log", source: None };
            let _ = answer.send(if fails { Err(gone) } else { queue.append(append).await });
        });
        Commit::Pending(commit)
    }
}

on_every_backend! {
    async fn evt_21_nothing_is_visible_before_its_commit_and_everything_after(island: Island) {
        let gate = Gate::closed();
        let slow = Slow::of(&island.ports().queue, &gate, false);
        let island = island.backend(|ports| ports.queue = Arc::clone(&slow) as _);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let mut stream = engine.events(context.thread(), 0);
        let mut execution = Box::pin(engine.execute_agent(&context, "tools", json!(1)));
        while slow.waiting() == 0 || island.factory().metrics().instances_live > 0 {
            assert!(poll!(&mut execution).is_pending(), "the end is a fact only when it is durable");
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert!(poll!(&mut execution).is_pending(), "the agent has ended, and its end is not durable");
        assert!(stream.ready().await.unwrap().is_empty(), "nobody is told before");
        assert!(runs_of(island.ports(), &ada).await.is_empty());
        gate.open();
        assert!(execution.await.unwrap().is_success());
        assert_eq!(take(&mut stream, 9).await.len(), 9);
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn evt_21_nothing_is_ever_visible_of_a_commit_that_failed(island: Island) {
        let gate = Gate::closed();
        gate.open();
        let failing = Slow::of(&island.ports().queue, &gate, true);
        let island = island.backend(|ports| ports.queue = failing);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let outcome = engine.execute_agent(&context, "tools", json!(1)).await;
        assert!(matches!(outcome, Err(Error::Storage(InfraError::Unavailable { .. }))), "no success: {outcome:?}");
        assert!(log_of(&island, &context).await.is_empty());
        assert!(runs_of(island.ports(), &ada).await.is_empty());
        assert_eq!(engine.stats().completed, 0);
        drop(engine);
        nothing_is_left(&island, &[&ada]).await;
    }

    async fn a_call_that_the_world_can_see_begins_only_when_its_beginning_is_durable(island: Island) {
        let ports = island.ports().clone();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let pay = insula_agent::tool_fn(spec("pay").effect(Effect::Once), move |call: insula_agent::ToolCall, _: Value| {
            let (ports, kept) = (ports.clone(), Arc::clone(&kept));
            async move {
                let context = call.context();
                let log = crate::support::events_of_run(&ports, context.scope(), context.run()).await;
                *kept.lock().unwrap() = kinds(&log);
                Ok(json!("paid"))
            }
        });
        let island = island.class(caller("payer", "pay")).tool(pay);
        let ada = island.user("ada");
        assert!(island.run(&ada, "payer", json!(1)).await.is_success());
        assert_eq!(*seen.lock().unwrap(), ["agent_started", "tool_executing"]);
    }

    async fn a_call_that_the_world_can_see_is_not_made_when_its_beginning_cannot_be_written(island: Island) {
        let gate = Gate::closed();
        gate.open();
        let failing = Slow::of(&island.ports().queue, &gate, true);
        let calls = crate::support::Gauge::default();
        let pay = crate::engine::stage::held_tool(spec("pay").effect(Effect::Idempotent), &calls, &gate);
        let writing = class("writing", |session, _| async move {
            session.state(insula_agent::Space::User).set("paid", &true).await?;
            Ok(json!(true))
        });
        let island = island.class(caller("payer", "pay")).class(writing).tool(pay);
        let island = island.backend(|ports| ports.queue = failing);
        let ada = island.user("ada");
        for class in ["payer", "writing"] {
            let context = context(&ada);
            let engine = island.engine(&context);
            let outcome = engine.execute_agent(&context, class, json!(1)).await;
            assert!(matches!(outcome, Err(Error::Storage(_))), "{class}: {outcome:?}");
        }
        assert_eq!(calls.ever(), 0);
        let paid = insula_agent::Resources::state(&island.engine(&context(&ada)).state("writing"))
            .get(insula_agent::Space::User, "paid")
            .await
            .unwrap();
        assert!(paid.is_none(), "and nothing was written elsewhere");
        until("nothing lives", || island.factory().metrics().runs_live == 0).await;
    }
}
