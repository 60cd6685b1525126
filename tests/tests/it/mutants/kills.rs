//! Probes that lose a process in the middle of something.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use insula_agent::{Effect, Error, Session, Tool, ToolCall, tool_fn};
use insula_context::RunId;
use insula_engine::RunRequest;
use insula_infra::{Backend, RunStatus};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::stage::{Found, Ledger, Line, MINUTE, ended, island, life, promise, result, whole_log};
use crate::{
    engine::stage::{class, spec},
    support::{Island, user},
};

/// Where a first life ends: nobody comes past it before it is dead.
#[derive(Debug, Clone, Default)]
struct Edge {
    reached: Arc<Notify>,
    passable: Arc<AtomicBool>,
}

impl Edge {
    async fn pass(&self) {
        if !self.passable.load(Ordering::SeqCst) {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// A tool that ends the first life. What came before it is durable then: it is not `Pure`.
    fn tool(&self, name: &'static str) -> impl Tool + 'static {
        let edge = self.clone();
        tool_fn(spec(name).effect(Effect::Idempotent), move |_: ToolCall, _: Value| {
            let edge = edge.clone();
            async move {
                edge.pass().await;
                Ok(json!(name))
            }
        })
    }

    /// A process that takes a run in and works on it until the edge is reached. Then the process is gone, and no word of
    /// it is written any more.
    fn kill(&self, island: impl FnOnce(Line) -> Island, request: RunRequest) -> Result<RunId, String> {
        let line = Line::default();
        let told = life(async {
            let island = island(line.clone());
            let accepted = island.factory().submit(&user("ada"), request).await;
            let run = accepted.map_err(|error| format!("a run is accepted ({error})"))?;
            let soon = tokio::time::timeout(MINUTE, self.reached.notified()).await;
            soon.map_err(|_| "a run that was accepted begins".to_owned())?;
            line.cut();
            Ok(run)
        });
        self.passable.store(true, Ordering::SeqCst);
        told
    }
}

async fn shop(session: Session, _: Value) -> insula_agent::Result<Value> {
    let drawn = session.random().await?;
    let price: Value = session.step("price", Effect::Pure, async || Ok(json!(drawn.to_string()))).await?;
    let booked = session.call_tool("book", json!(1)).await?;
    let paid = session.call_tool("pay", json!(2)).await?;
    session.call_tool("ship", json!(3)).await?;
    Ok(json!([price == json!(drawn.to_string()), booked, paid]))
}

/// A run whose worker is lost goes on where it was, and does nothing again.
pub(super) fn a_lost_run_goes_on(backend: Backend) -> Found {
    let (edge, ledger, ada) = (Edge::default(), Ledger::default(), user("ada"));
    let stage = |island: Island| {
        let island = island.class(class("shop", shop)).tool(edge.tool("ship"));
        island.tool(ledger.tool("pay", Effect::Once)).tool(ledger.tool("book", Effect::Idempotent))
    };
    let run = edge.kill(|line| stage(island(line.to(&backend))), RunRequest::new("shop", json!(1)))?;
    life(async {
        let island = stage(island(backend.clone()));
        island.factory().work();
        let record = ended(island.factory(), &ada, &run).await?;
        promise(ledger.times("pay") == 1, "what is done once is done once", ledger.times("pay"))?;
        let mut keys = ledger.keys("book");
        keys.dedup();
        promise(keys.len() == 1, "what is repeated has one key", &keys)?;
        let seen = result(&record);
        promise(seen == Some("[true,1,1]"), "a resumed run ends as an undisturbed one", (seen, &record.failure))?;
        whole_log(&backend, &ada).await
    })
}

/// What a run had to undo is undone by whoever takes it over, and the run has failed all the same.
pub(super) fn a_lost_undo_goes_on(backend: Backend) -> Found {
    let (edge, ledger, ada) = (Edge::default(), Ledger::default(), user("ada"));
    let lives = Arc::new(AtomicBool::new(false));
    let stage = |island: Island| {
        let (edge, undone, lives) = (edge.clone(), ledger.clone(), Arc::clone(&lives));
        let reserve = ledger.tool("reserve", Effect::Compensable).undone_by(move |call, _, _| {
            let (edge, undone) = (edge.clone(), undone.clone());
            async move {
                edge.pass().await;
                undone.note("undone", call.key());
                Ok(())
            }
        });
        let trip = class("trip", move |session, _| {
            let first = !lives.swap(true, Ordering::SeqCst);
            async move {
                session.call_tool("reserve", json!(1)).await?;
                if first { Err(Error::failed("no seat")) } else { Ok(json!("a seat")) }
            }
        });
        island.class(trip).tool(reserve)
    };
    let run = edge.kill(|line| stage(island(line.to(&backend))), RunRequest::new("trip", json!(1)))?;
    life(async {
        let island = stage(island(backend.clone()));
        island.factory().work();
        let record = ended(island.factory(), &ada, &run).await?;
        promise(record.status == RunStatus::Failed, "a run that has failed has failed", record.status)?;
        promise(ledger.times("undone") == 1, "what is to be undone is undone", ledger.times("undone"))?;
        whole_log(&backend, &ada).await
    })
}

/// A deadline is kept also by whoever takes a run over.
pub(super) fn a_deadline_outlives_its_process(backend: Backend) -> Found {
    let (edge, ada) = (Edge::default(), user("ada"));
    let stage = |island: Island| {
        let edge = edge.clone();
        let slow = class("slow", move |_, _| {
            let edge = edge.clone();
            async move {
                edge.pass().await;
                tokio::time::sleep(MINUTE * 8).await;
                Ok(json!("late"))
            }
        });
        island.class(slow)
    };
    let request = RunRequest::new("slow", json!(1)).timeout(Duration::from_secs(120));
    let run = edge.kill(|line| stage(island(line.to(&backend))), request)?;
    life(async {
        let island = stage(island(backend.clone()));
        island.factory().work();
        let record = ended(island.factory(), &ada, &run).await?;
        promise(record.status == RunStatus::Failed, "a deadline is kept", record.status)
    })
}
