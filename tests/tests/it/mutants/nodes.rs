//! Probes with more than one process on one store.

use std::time::Duration;

use insula_agent::{Effect, agent_fn};
use insula_context::{CancelReason, Clock, RandomIds, RunId, SystemClock, ThreadId};
use insula_engine::{RunRequest, Schedule};
use insula_infra::{Backend, RunStatus};
use insula_registry::AgentClass;
use serde_json::json;

use super::stage::{Found, Ledger, Line, MINUTE, ended, island, life, promise, result, whole_log};
use crate::{
    engine::stage::{Gate, class, held},
    queue::faults::Forgets,
    support::{Gauge, log::runs_of, user},
};

/// A run has one worker, and two processes that look at the queue do not both begin it.
pub(super) fn a_run_has_one_worker(backend: Backend) -> Found {
    life(async {
        let (gauge, ledger, ada) = (Gauge::default(), Ledger::default(), user("ada"));
        let (inside, noted) = (gauge.clone(), ledger.clone());
        let slow = AgentClass::new("slow", "1", move || {
            let (inside, noted) = (inside.clone(), noted.clone());
            agent_fn(move |session, _| {
                let inside = inside.enter();
                noted.note("begun", "");
                async move {
                    tokio::time::sleep(MINUTE).await;
                    drop(inside);
                    session.call_tool("pay", json!(1)).await
                }
            })
        });
        let island = island(backend.clone()).class(slow).tool(ledger.tool("pay", Effect::Once));
        let (one, other) = (island.factory(), island.another());
        one.work();
        other.work();
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(one.submit(&ada, RunRequest::new("slow", json!(1))).await.map_err(|error| error.to_string())?);
        }
        for run in &runs {
            let record = ended(&other, &ada, run).await?;
            promise(record.status == RunStatus::Completed, "a run that is not disturbed completes", &record)?;
        }
        promise(ledger.times("begun") == 3, "a run has one worker", ledger.times("begun"))?;
        promise(ledger.times("pay") == 3, "what is done once is done once", ledger.times("pay"))?;
        whole_log(&backend, &ada).await
    })
}

/// A process that was not heard for longer than its lease finds its run taken over, and says nothing more.
pub(super) fn a_stalled_worker_stops_its_work(backend: Backend) -> Found {
    life(async {
        let (line, ledger, ada) = (Line::default(), Ledger::default(), user("ada"));
        let noted = ledger.clone();
        let slow = class("slow", move |session, _| {
            noted.note("begun", "");
            async move {
                tokio::time::sleep(MINUTE * 5).await;
                session.call_tool("pay", json!(1)).await
            }
        });
        let slow = || slow.clone();
        let stalled = island(line.to(&backend)).class(slow()).tool(ledger.tool("pay", Effect::Once));
        let run = stalled.factory().submit(&ada, RunRequest::new("slow", json!(1))).await.map_err(|e| e.to_string())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        line.cut();
        let healthy = island(backend.clone()).class(slow()).tool(ledger.tool("pay", Effect::Once));
        healthy.factory().work();
        tokio::time::sleep(MINUTE * 2).await;
        line.mend();
        let record = ended(healthy.factory(), &ada, &run).await?;
        tokio::time::sleep(MINUTE * 5).await;
        promise(ledger.times("begun") == 2, "a lost run is taken over", ledger.times("begun"))?;
        promise(result(&record) == Some("1"), "a run that is taken over completes", &record)?;
        promise(ledger.times("pay") == 1, "what is done once is done once", ledger.times("pay"))?;
        whole_log(&backend, &ada).await
    })
}

/// A wish to stop reaches a run in another process.
pub(super) fn a_stop_reaches_another_process(backend: Backend) -> Found {
    life(async {
        let (gauge, ada) = (Gauge::default(), user("ada"));
        let island = island(backend.clone()).class(held("held", &gauge, &Gate::closed()));
        let (one, other) = (island.factory(), island.another());
        let run = one.submit(&ada, RunRequest::new("held", json!(1))).await.map_err(|error| error.to_string())?;
        tokio::time::sleep(MINUTE).await;
        promise(gauge.now() == 1, "a run that was accepted begins", gauge.now())?;
        other.cancel(&ada, &run, CancelReason::new("user", "enough")).await.map_err(|error| error.to_string())?;
        tokio::time::sleep(MINUTE).await;
        let record = ended(&other, &ada, &run).await?;
        promise(gauge.now() == 0, "stop stops the agent", gauge.now())?;
        promise(record.status == RunStatus::Cancelled, "stop stops", &record)
    })
}

/// A run that was stopped before it was made never begins.
pub(super) fn a_run_that_was_stopped_ahead_never_begins(backend: Backend) -> Found {
    life(async {
        let (gauge, ada) = (Gauge::default(), user("ada"));
        let island = island(backend.clone()).class(held("held", &gauge, &Gate::closed()));
        let run = RunId::generate(&RandomIds);
        let (one, other) = (island.factory(), island.another());
        other.cancel(&ada, &run, CancelReason::new("user", "enough")).await.map_err(|error| error.to_string())?;
        let _refused_or_not = one.submit(&ada, RunRequest::new("held", json!(1)).run(run.clone())).await;
        tokio::time::sleep(MINUTE).await;
        promise(gauge.ever() == 0, "stop stops what has not begun", gauge.ever())
    })
}

/// A slot of a schedule has one run, also when whoever fired it is gone before it has moved the schedule on.
pub(super) fn a_slot_is_fired_once(backend: Backend) -> Found {
    life(async {
        let (clock, ada) = (SystemClock::new(), user("ada"));
        let forgets = Forgets { queue: backend.queue.clone(), lost: Default::default() };
        let island = island(Backend { queue: std::sync::Arc::new(forgets), ..backend.clone() });
        let (one, other) = (island.factory(), island.another());
        let pulse = Schedule::new("pulse", "* * * * *", "echo", json!(1));
        let slot = one.schedule(&ada, pulse).await.map_err(|error| error.to_string())?.next_at;
        let slot = slot.ok_or("a schedule has a next slot")?;
        one.work();
        other.work();
        tokio::time::sleep(slot.plus(MINUTE * 3 + MINUTE / 2).since(clock.now())).await;
        let made = runs_of(&backend, &ada).await.len();
        promise(made == 4, "every slot has one run", made)
    })
}

/// Runs of a thread do not overlap.
pub(super) fn a_thread_runs_one_at_a_time(backend: Backend) -> Found {
    life(async {
        let (gauge, gate, ada) = (Gauge::default(), Gate::closed(), user("ada"));
        let island = island(backend.clone()).class(held("held", &gauge, &gate));
        let thread = ThreadId::generate(&RandomIds);
        let mut runs = Vec::new();
        for n in 0..2 {
            let request = RunRequest::new("held", json!(n)).thread(thread.clone());
            runs.push(island.factory().submit(&ada, request).await.map_err(|error| error.to_string())?);
        }
        tokio::time::sleep(MINUTE).await;
        gate.open();
        for run in &runs {
            ended(island.factory(), &ada, run).await?;
        }
        promise(gauge.most() == 1, "runs of a thread follow each other", gauge.most())?;
        whole_log(&backend, &ada).await
    })
}

/// A run that is to begin later begins at its time.
pub(super) fn a_delayed_run_waits_for_its_time(backend: Backend) -> Found {
    life(async {
        let (gauge, ada) = (Gauge::default(), user("ada"));
        let island = island(backend.clone()).class(held("held", &gauge, &Gate::closed()));
        let request = RunRequest::new("held", json!(1)).delay(MINUTE * 5);
        island.factory().submit(&ada, request).await.map_err(|error| error.to_string())?;
        tokio::time::sleep(MINUTE * 4).await;
        promise(gauge.ever() == 0, "a run begins at its time and not before", gauge.ever())?;
        tokio::time::sleep(MINUTE * 2).await;
        promise(gauge.ever() == 1, "a run begins at its time", gauge.ever())
    })
}
