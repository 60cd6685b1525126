//! Runs per second, in memory and on disk, at several concurrencies, beside the bare loop.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use insula_context::ThreadId;
use insula_engine::AgentThreads;
use serde_json::json;

use crate::{
    bare::Bytes,
    island::{self, ONE_TOOL, Store},
    measure,
    report::{Report, Target},
};

/// What a rate cost.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
}

pub(crate) fn measure(report: &mut Report, time: Duration, threads: impl Fn(usize) -> AgentThreads) -> Result<()> {
    memory(report, time, &threads)?;
    sqlite(report, time, &threads)
}

fn memory(report: &mut Report, time: Duration, threads: &dyn Fn(usize) -> AgentThreads) -> Result<()> {
    report.section("runs in memory");
    for at_once in [1, 100, 1_000] {
        let noop = engine(Store::Memory, "noop", at_once, threads(2), 2, time)?;
        report.figure(format!("no-op, {at_once} at once"), noop.per_second, "runs/s", Target::None);
        let tool = engine(Store::Memory, ONE_TOOL, at_once, threads(2), 2, time)?;
        let bare = bare(Store::Memory, at_once, time)?;
        let target = if at_once == 100 { Target::AtLeast(50_000.0) } else { Target::None };
        report.figure(format!("one tool, {at_once} at once"), tool.per_second, "runs/s", target);
        let target = if at_once == 100 { Target::AtMost(40.0) } else { Target::None };
        report.figure(format!("one tool, {at_once} at once: processor"), tool.cpu_micros, "µs/run", target);
        report.figure(format!("bare loop, {at_once} at once"), bare.per_second, "runs/s", Target::None);
        report.figure(
            format!("share of the bare loop, {at_once} at once"),
            tool.per_second / bare.per_second,
            "×",
            Target::None,
        );
    }
    // The same threads, held on one processor: that is what a second one is compared with.
    let run = || engine(Store::Memory, ONE_TOOL, 100, threads(2), 2, time);
    let one = measure::on_cores(1, run)??;
    let two = measure::on_cores(2, run)??;
    report.figure("two cores over one", two.per_second / one.per_second, "×", Target::AtLeast(1.7));
    Ok(())
}

fn sqlite(report: &mut Report, time: Duration, threads: &dyn Fn(usize) -> AgentThreads) -> Result<()> {
    report.section("runs on SQLite, synchronous=FULL");
    for (at_once, least) in [(1, 800.0), (100, 10_000.0), (1_000, 20_000.0)] {
        let tool = engine(Store::Sqlite, ONE_TOOL, at_once, threads(2), 2, time)?;
        let bare = bare(Store::Sqlite, at_once, time)?;
        report.figure(format!("one tool, {at_once} at once"), tool.per_second, "runs/s", Target::AtLeast(least));
        report.figure(format!("one tool, {at_once} at once: processor"), tool.cpu_micros, "µs/run", Target::None);
        report.figure(format!("bare loop, {at_once} at once"), bare.per_second, "runs/s", Target::None);
        report.figure(
            format!("share of the bare loop, {at_once} at once"),
            tool.per_second / bare.per_second,
            "×",
            Target::None,
        );
        report.figure(
            format!("events over the bare loop's rows, {at_once} at once"),
            tool.per_second * 4.0 / (bare.per_second * 2.0),
            "×",
            Target::None,
        );
    }
    Ok(())
}

/// Runs an agent class over and over, `at_once` runs at a time, each by a user of its own.
fn engine(
    store: Store,
    class: &'static str,
    at_once: usize,
    threads: AgentThreads,
    cores: usize,
    time: Duration,
) -> Result<Rate> {
    let folder = tempfile::tempdir()?;
    let runtime = island::runtime(cores)?;
    let rate = runtime.block_on(async {
        let factory = island::factory(store.open(folder.path())?, threads)?;
        let done = Arc::new(AtomicU64::new(0));
        let worker = |n: usize| {
            let (factory, done) = (factory.clone(), Arc::clone(&done));
            async move {
                let mut context = island::context(&island::user(n), n);
                let engine = factory.create_for_user(&context)?;
                let until = Instant::now() + time;
                while Instant::now() < until {
                    let outcome =
                        engine.execute_agent(&context, class, json!({"question": "what is the answer?"})).await?;
                    ensure!(outcome.is_success(), "{:?}", outcome.end);
                    done.fetch_add(1, Ordering::Relaxed);
                    context = context.next_run();
                }
                anyhow::Ok(())
            }
        };
        all(at_once, worker, &done).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    rate
}

fn bare(store: Store, at_once: usize, time: Duration) -> Result<Rate> {
    let folder = tempfile::tempdir()?;
    let runtime = island::runtime(2)?;
    let rate = runtime.block_on(async {
        let backend = store.open(folder.path())?;
        let (done, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(Bytes::new()));
        let worker = |n: usize| {
            let (backend, done, bytes) = (backend.clone(), Arc::clone(&done), Arc::clone(&bytes));
            async move {
                let (user, thread) = (island::user(n), ThreadId::new(format!("thread-{n}"))?);
                let until = Instant::now() + time;
                while Instant::now() < until {
                    bytes.run(&backend, &user, &thread).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                    tokio::task::coop::consume_budget().await;
                }
                anyhow::Ok(())
            }
        };
        all(at_once, worker, &done).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    rate
}

async fn all<F>(at_once: usize, worker: impl Fn(usize) -> F, done: &AtomicU64) -> Result<Rate>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (began, cpu) = (Instant::now(), measure::cpu());
    let tasks: Vec<_> = (0..at_once).map(|n| tokio::spawn(worker(n))).collect();
    for task in tasks {
        task.await??;
    }
    let (took, cpu) = (began.elapsed(), measure::cpu() - cpu);
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let runs = done.load(Ordering::Relaxed) as f64;
    Ok(Rate { per_second: runs / took.as_secs_f64(), cpu_micros: cpu.as_secs_f64() * 1e6 / runs })
}
