//! What it costs that nothing is lost: taking over, waiting, stopping, a long conversation, a crowd before oneself.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use insula_agent::{Effect, Question, ToolSpec, agent_fn, kit, tool_fn};
use insula_context::{CancelReason, Clock, RunId, SystemClock, ThreadId, UserScope};
use insula_engine::{ExecutionEngineFactory, Limits, RunRequest, Tools};
use insula_infra::{
    Append, Backend, EventType, Lease, NewEvent, NewRun, PageRequest, RunFilter, RunHeader, RunStatus, WorkerId,
};
use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::{json, value::to_raw_value};

use crate::{
    island::{self, ONE_TOOL, Store},
    measure,
    report::{Report, Target},
};

/// When each run's tool was called last.
type Ticks = Arc<Mutex<Vec<Instant>>>;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let runtime = island::runtime(2)?;
    for store in [Store::Memory, Store::Sqlite] {
        report.section(&format!("durability, {}", store.name()));
        runtime.block_on(async {
            taking_over(report, store).await?;
            stopping(report, store).await?;
            crowded(report, store).await
        })?;
    }
    report.section("waiting and long conversations, SQLite FULL");
    runtime.block_on(async {
        waiting(report).await?;
        conversation(report).await
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

fn factory(backend: Backend, ticks: &Ticks, limits: Limits) -> Result<ExecutionEngineFactory> {
    let ticking = || {
        agent_fn(|session, input| async move {
            loop {
                session.call_tool("tick", &input).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let asking = || agent_fn(|session, _| async move { session.ask(Question::new("well?")).await });
    let registry = AgentClassRegistry::builder()
        .register(AgentClass::new("noop", "1", kit::noop))
        .register(AgentClass::new("brief", "1", || kit::sleep(BRIEF)))
        .register(AgentClass::new("ticking", "1", ticking))
        .register(AgentClass::new("asking", "1", asking));
    let ticks = Arc::clone(ticks);
    let tick = tool_fn(ToolSpec::new::<usize>("tick").effect(Effect::Pure), move |_, n: usize| {
        if let Some(tick) = ticks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_mut(n) {
            *tick = Instant::now();
        }
        async { Ok(true) }
    });
    let tools = Tools::new().with(tick);
    Ok(ExecutionEngineFactory::builder(registry.freeze()?, backend).tools(tools).limits(limits).build())
}

fn roomy() -> Limits {
    Limits { engines: 1_000_000, running: 1_000_000, claimed: 1_000_000, ..Limits::default() }
}

/// How long the runs of a crowd take.
const BRIEF: Duration = Duration::from_millis(20);

/// A run that a worker began whose lease ends after `lease`.
async fn lost(backend: &Backend, scope: &UserScope, n: usize, lease: Duration) -> Result<RunId> {
    let (run, now) = (RunId::generate(&insula_context::RandomIds), SystemClock::new().now());
    let thread = ThreadId::new(format!("lost-{n}"))?;
    let header =
        Arc::new(RunHeader { scope: scope.clone(), thread, run: run.clone(), parent: None, agent: "noop".into() });
    let started = to_raw_value(&json!({"class": "noop", "version": "1", "input": n, "marker": "lost"}))?;
    let event = NewEvent { kind: EventType::AgentStarted, at: now, data: started.into(), journal: None };
    let new = NewRun::new(Arc::clone(&header), "1".into(), to_raw_value(&n)?.into(), now);
    let append = Append {
        create: Some((new, lease)),
        events: vec![event],
        ..Append::new(Lease { header, worker: WorkerId::new("lost"), token: 1 }, 0)
    };
    backend.queue.append(append).await?;
    Ok(run)
}

async fn taking_over(report: &mut Report, store: Store) -> Result<()> {
    for runs in [1, 10_000] {
        let folder = tempfile::tempdir()?;
        let backend = store.open(folder.path())?;
        let losing = (0..runs).map(|n| {
            let (backend, user) = (backend.clone(), island::user(n % 100));
            async move { Ok::<_, anyhow::Error>((user.clone(), lost(&backend, &user, n, Duration::ZERO).await?)) }
        });
        let lost = futures::future::try_join_all(losing).await?;
        let began = Instant::now();
        let factory = factory(backend, &Ticks::default(), roomy())?;
        factory.work();
        for (user, run) in &lost {
            factory.wait(user, run).await?.context("the run is there")?;
        }
        let (name, most) = match runs {
            1 => ("a lost run, taken over and finished", 1.0),
            _ => ("10,000 lost runs, taken over and finished", 2.0),
        };
        report.figure(name, began.elapsed().as_secs_f64(), "s", Target::AtMost(most));
    }
    let folder = tempfile::tempdir()?;
    let backend = store.open(folder.path())?;
    let (user, lease) = (island::user(1), Duration::from_secs(2));
    let factory = factory(backend.clone(), &Ticks::default(), roomy())?;
    factory.work();
    let began = Instant::now();
    let run = lost(&backend, &user, 1, lease).await?;
    factory.wait(&user, &run).await?;
    let late = began.elapsed().saturating_sub(lease).as_secs_f64();
    report.figure("a lost run, finished elsewhere after its lease", late, "s", Target::AtMost(1.0));
    Ok(())
}

async fn stopping(report: &mut Report, store: Store) -> Result<()> {
    const RUNS: usize = 1_000;
    let folder = tempfile::tempdir()?;
    let ticks: Ticks = Arc::new(Mutex::new(vec![Instant::now(); RUNS]));
    let factory = factory(store.open(folder.path())?, &ticks, roomy())?;
    let mut runs = Vec::new();
    for n in 0..RUNS {
        let user = island::user(n % 100);
        runs.push((user.clone(), factory.submit(&user, RunRequest::new("ticking", json!(n))).await?));
    }
    while factory.metrics().runs_started < RUNS as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut accepted = Vec::new();
    for (user, run) in &runs {
        factory.cancel(user, run, CancelReason::new("user", "enough")).await?;
        accepted.push(Instant::now());
    }
    for (user, run) in &runs {
        factory.wait(user, run).await?;
    }
    let ticks = ticks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut late: Vec<f64> = ticks
        .iter()
        .zip(&accepted)
        .map(|(tick, accepted)| tick.saturating_duration_since(*accepted).as_secs_f64() * 1e3)
        .collect();
    late.sort_by(f64::total_cmp);
    report.figure(
        "1,000 in flight: cancel → last side effect, P99",
        late[RUNS * 99 / 100],
        "ms",
        Target::AtMost(100.0),
    );
    Ok(())
}

/// How long another user's run waits for its start, while one user has 10,000 runs in the queue.
async fn crowded(report: &mut Report, store: Store) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let limits = Limits { running: 64, claimed: 64, ..Limits::default() };
    let factory = factory(store.open(folder.path())?, &Ticks::default(), limits)?;
    let other = island::user(2);
    let alone = start_delay(&factory, &other).await?;
    let crowd = island::user(1);
    let submitting = (0..10_000).map(|n| factory.submit(&crowd, RunRequest::new("brief", json!(n))));
    futures::future::try_join_all(submitting).await?;
    let beside = start_delay(&factory, &other).await?;
    let left = factory
        .backend()
        .runs
        .runs(&crowd, &RunFilter { status: Some(RunStatus::Queued), ..RunFilter::default() }, &PageRequest::default())
        .await?;
    anyhow::ensure!(!left.items.is_empty(), "the crowd had gone before the other user was served");
    let growth = (beside - alone).max(0.0);
    report.figure("start delay alone, median", alone, "ms", Target::None);
    let most = BRIEF.as_secs_f64() * 1e3;
    report.figure("growth of it behind another's 10,000 queued runs", growth, "ms", Target::AtMost(most));
    Ok(())
}

/// Milliseconds from the submission to the start, the median of 21.
async fn start_delay(factory: &ExecutionEngineFactory, user: &UserScope) -> Result<f64> {
    let mut delays = Vec::new();
    for n in 0..21 {
        let run = factory.submit(user, RunRequest::new("brief", json!(n))).await?;
        let record = factory.wait(user, &run).await?.context("the run is there")?;
        let started = record.started_at.context("it has run")?;
        delays.push(started.since(record.created_at).as_secs_f64() * 1e3);
    }
    delays.sort_by(f64::total_cmp);
    Ok(delays[10])
}

async fn waiting(report: &mut Report) -> Result<()> {
    const RUNS: usize = 10_000;
    const WAVE: usize = 500;
    let folder = tempfile::tempdir()?;
    let limits = Limits { park_after: Duration::from_millis(1), ..roomy() };
    let factory = factory(Store::Sqlite.open(folder.path())?, &Ticks::default(), limits)?;
    let ask = async |from: usize, runs: usize| {
        let submitting = (from..from + runs).map(|n| {
            let (factory, user) = (factory.clone(), island::user(n % 100));
            async move { factory.submit(&user, RunRequest::new("asking", json!(n))).await }
        });
        futures::future::try_join_all(submitting).await?;
        let settled = || {
            let metrics = factory.metrics();
            metrics.runs_started >= (from + runs) as u64 && metrics.runs_live == 0 && metrics.instances_live == 0
        };
        while !settled() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    // In waves, so that what is measured is what waits and not how many came at once; the first ones make the room that
    // the allocator keeps for itself and fill the cache of the database, which is 64 MiB.
    for wave in 0..6 * RUNS / WAVE {
        ask(wave * WAVE, WAVE).await?;
    }
    let before = measure::resident();
    for wave in 6 * RUNS / WAVE..7 * RUNS / WAVE {
        ask(wave * WAVE, WAVE).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let each = measure::resident().saturating_sub(before) as f64 / RUNS as f64;
    report.figure("resident memory per run that waits for a human", each, "B", Target::AtMost(256.0));
    anyhow::ensure!(factory.metrics().instances_live == 0, "an instance is still there");
    Ok(())
}

/// Bytes on disk per turn of one conversation.
async fn conversation(report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut sizes = Vec::new();
    for hundred in 0..10 {
        hundred_turns(folder.path(), hundred).await?;
        sizes.push(closed_size(folder.path()).await?);
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let per_turn = |n: usize| (sizes[n] - sizes[n - 1]) as f64 / 100.0;
    report.figure("bytes on disk per turn, turns 101 to 200", per_turn(1), "B", Target::None);
    report.figure("bytes on disk per turn, turns 901 to 1,000", per_turn(9), "B", Target::None);
    report.figure("late over early", per_turn(9) / per_turn(1), "×", Target::AtMost(1.1));
    Ok(())
}

async fn hundred_turns(folder: &Path, hundred: usize) -> Result<()> {
    let factory = island::factory(Store::Sqlite.open(folder)?, insula_engine::AgentThreads::Own(2))?;
    let mut context = island::context(&island::user(1), 1);
    let engine = factory.create_for_user(&context)?;
    for turn in 0..100 {
        let input = json!({"words": "a turn of a conversation", "turn": 100 * hundred + turn + 1_000});
        engine.execute_agent(&context, ONE_TOOL, input).await?;
        context = context.next_run();
    }
    drop(engine);
    factory.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// The size of the file once nobody has it open: what was written beside it is in it then.
async fn closed_size(folder: &Path) -> Result<u64> {
    let began = Instant::now();
    while folder.join("insula.db-wal").exists() {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(20), "somebody holds the file open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(measure::on_disk(folder))
}
