//! A process that is shut down gives its runs away; nobody has to wait for its lease.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use insula_agent::Effect;
use insula_engine::{AgentThreads, RunRequest};
use insula_infra::RunStatus;
use serde_json::{Value, json};

use super::{
    book::Book,
    cases::{Case, LEASE},
    tap::{Fate, tap},
    wreck::{Place, Wreck},
};
use crate::{
    engine::stage::{Gate, class, held_tool, spec},
    support::{Backing, Gauge, Island, ShiftedClock, events_of_run, kinds, log::runs_of, on_every_backend, until},
};

const RUNS: usize = 20;

on_every_backend! {
    async fn res_6_a_deploy_hands_over_every_run_and_none_is_lost_or_done_twice(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let working = class("working", |session, input| async move {
            let before: Value = session.step("before", Effect::Pure, async || Ok(input)).await?;
            let held = session.call_tool("held", &before).await?;
            Ok(json!([before, held]))
        });
        let held = held_tool(spec("held").effect(Effect::Idempotent), &gauge, &gate);
        let island = island.class(working).tool(held).limits(|limits| limits.lease = Duration::from_secs(600));
        let ada = island.user("ada");
        let first = island.another();
        for n in 0..RUNS {
            first.submit(&ada, RunRequest::new("working", json!(n))).await.unwrap();
        }
        until("all are in flight", || gauge.now() == RUNS).await;
        assert_eq!(first.shutdown(Duration::from_millis(10)).await, RUNS);
        until("they have gone", || gauge.now() == 0).await;
        gate.open();
        let (second, began) = (island.another(), Instant::now());
        second.work();
        for record in runs_of(island.ports(), &ada).await {
            assert_eq!(record.status, RunStatus::Running, "{record:?}");
            let ended = second.wait(&ada, &record.header.run).await.unwrap().unwrap();
            assert_eq!(ended.status, RunStatus::Completed, "{ended:?}");
            let log = events_of_run(island.ports(), &ada, &record.header.run).await;
            let expected = [
                "agent_started", "step_completed", "tool_executing", "agent_resumed", "tool_completed", "agent_completed",
            ];
            assert_eq!(kinds(&log), expected);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "nobody waits for the lease of {:?}", Duration::from_secs(600));
        assert_eq!(gauge.ever(), RUNS * 2, "each call once more, under its key");
    }

    async fn what_is_executed_for_somebody_who_waits_ends_with_the_process(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(crate::engine::stage::held("held", &gauge, &gate));
        let ada = island.user("ada");
        let context = crate::support::context(&ada);
        let engine = island.engine(&context);
        let shutdown = async {
            until("it runs", || gauge.now() == 1).await;
            island.factory().shutdown(Duration::from_millis(10)).await
        };
        let (outcome, left) = tokio::join!(engine.execute_agent(&context, "held", json!(1)), shutdown);
        assert_eq!((outcome.unwrap().end.reason(), left), ("cancelled", 1));
    }
}

/// A story whose process is shut down in the middle, and lost at the write that hands it over.
async fn lost_at_its_handover(backing: Backing, fate: Fate) {
    let clock = ShiftedClock::new();
    let (backend, book) = (backing.open(Arc::clone(&clock) as _), Book::here());
    let case = Case::named("stopped-submitted-never").unwrap();
    let lost = Place::HandOver.lost(fate);
    let first = case.engine(tap(&backend, Arc::clone(&lost) as _), &book, AgentThreads::Own(1));
    first.submit(&Wreck::owner(), RunRequest::new(case.agent, json!(7)).run(case.run())).await.unwrap();
    until("it hangs", || book.notes().iter().any(|(what, _)| what == "hang")).await;
    let (_left, ()) = tokio::join!(first.shutdown(Duration::ZERO), lost.wait());
    let left = kinds(&events_of_run(&backend, &Wreck::owner(), &case.run()).await);
    assert_eq!(left, ["agent_started", "tool_executing", "tool_completed", "tool_executing"]);
    // What was handed over is taken at once, and what was not when the lease is over.
    if fate == Fate::LostBefore {
        clock.advance(LEASE + Duration::from_secs(1));
    }
    let second = case.engine(backend.clone(), &book, AgentThreads::Own(1));
    case.tell(&second, &book).await;
    let log = kinds(&events_of_run(&backend, &Wreck::owner(), &case.run()).await);
    assert_eq!(log.last(), Some(&"agent_cancelled"));
    assert_eq!(book.notes().iter().filter(|(what, _)| what == "reserve").count(), 1);
}

#[tokio::test]
async fn handover_lost_before() {
    lost_at_its_handover(Backing::Memory, Fate::LostBefore).await;
    lost_at_its_handover(Backing::sqlite(), Fate::LostBefore).await;
}

#[tokio::test]
async fn handover_lost_after() {
    lost_at_its_handover(Backing::Memory, Fate::LostAfter).await;
    lost_at_its_handover(Backing::sqlite(), Fate::LostAfter).await;
}
