//! Whether the last of 100,000 runs cost what early ones cost.

use std::time::Instant;

use anyhow::Result;
use insula_engine::AgentThreads;
use insula_infra::MemoryBackend;
use serde_json::json;

use crate::{
    island::{self, ONE_TOOL, Store},
    measure,
    report::{Report, Target},
};

const WINDOW: u32 = 5_000;
const RUNS: u32 = 100_000;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    for store in [Store::Memory, Store::Sqlite] {
        report.section(&format!("early ones of {RUNS} runs against the last, {}", store.name()));
        let folder = tempfile::tempdir()?;
        let runtime = island::runtime(2)?;
        let (early, late) = runtime.block_on(windows(store, folder.path()))?;
        report.figure("processor per run, early", early.0, "µs", Target::None);
        report.figure("processor per run, late", late.0, "µs", Target::None);
        report.figure("late over early", late.0 / early.0, "×", Target::AtMost(1.1));
        let what = if store == Store::Memory { "resident memory" } else { "disk" };
        report.figure(format!("{what} per run, early"), early.1, "B", Target::None);
        report.figure(format!("{what} per run, late"), late.1, "B", Target::None);
        if store == Store::Sqlite {
            report.figure("late over early", late.1 / early.1, "×", Target::AtMost(1.1));
        }
    }
    Ok(())
}

type Cost = (f64, f64);

/// Processor time and bytes per run, after a warm-up and at the end.
async fn windows(store: Store, folder: &std::path::Path) -> Result<(Cost, Cost)> {
    let backend = match store {
        // So few that what is kept stays the same from the first window on.
        Store::Memory => MemoryBackend::new().retain(50).into_backend(),
        Store::Sqlite => store.open(folder)?,
    };
    let factory = island::factory(backend, AgentThreads::Own(2))?;
    let size = || if store == Store::Memory { measure::resident() } else { measure::on_disk(folder) };
    let mut costs = Vec::new();
    let mut done = 0;
    // 100 runs to warm up, then windows of equal length: only the first and the last count.
    many(&factory, 0, 100).await?;
    while done < RUNS {
        let (cpu, bytes, began) = (measure::cpu(), size(), Instant::now());
        many(&factory, done, WINDOW).await?;
        done += WINDOW;
        let cpu = (measure::cpu() - cpu).as_secs_f64().max(began.elapsed().as_secs_f64() * 0.01);
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        costs.push((cpu * 1e6 / f64::from(WINDOW), (size() as f64 - bytes as f64) / f64::from(WINDOW)));
    }
    // The very first windows are still in the write-ahead log, or in memory that was there already.
    Ok((mean(&costs[4..8]), mean(&costs[costs.len() - 4..])))
}

fn mean(costs: &[Cost]) -> Cost {
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let n = costs.len() as f64;
    let (cpu, bytes) = costs.iter().fold((0.0, 0.0), |(cpu, bytes), cost| (cpu + cost.0, bytes + cost.1));
    (cpu / n, bytes / n)
}

/// `runs` runs of 100 users, 100 at a time.
async fn many(factory: &insula_engine::ExecutionEngineFactory, from: u32, runs: u32) -> Result<()> {
    let worker = |n: usize| {
        let factory = factory.clone();
        tokio::spawn(async move {
            let mut context = island::context(&island::user(n), n);
            let engine = factory.create_for_user(&context)?;
            for _ in 0..runs / 100 {
                engine.execute_agent(&context, ONE_TOOL, json!({"from": from})).await?;
                context = context.next_run();
            }
            anyhow::Ok(())
        })
    };
    let workers: Vec<_> = (0..100).map(worker).collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}
