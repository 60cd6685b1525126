//! Events per second to a subscriber in the same process.

use std::time::{Duration, Instant};

use anyhow::Result;
use insula_context::ThreadId;
use insula_engine::{AgentThreads, StreamItem};
use serde_json::json;

use crate::{
    island::{self, Store},
    report::{Report, Target},
};

pub(crate) fn measure(report: &mut Report, time: Duration) -> Result<()> {
    report.section("events to a subscriber in the same process, in memory");
    let runtime = island::runtime(2)?;
    let folder = tempfile::tempdir()?;
    let (read, live) = runtime.block_on(async {
        let factory = island::factory(Store::Memory.open(folder.path())?, AgentThreads::Own(2))?;
        anyhow::Ok((from_the_log(&factory).await?, as_they_happen(&factory, time).await?))
    })?;
    report.figure("read from the log", read, "events/s", Target::AtLeast(1_000_000.0));
    report.figure("written by an agent and received", live, "events/s", Target::AtLeast(200_000.0));
    Ok(())
}

/// A subscriber that starts when everything is there: what delivery costs.
async fn from_the_log(factory: &insula_engine::ExecutionEngineFactory) -> Result<f64> {
    let user = island::user(0);
    let mut context = island::context(&user, 0);
    let engine = factory.create_for_user(&context)?;
    for _ in 0..500 {
        engine.execute_agent(&context, "chatty", json!(null)).await?;
        context = context.next_run();
    }
    let mut stream = factory.events(&user, context.thread(), 0);
    let (began, mut events) = (Instant::now(), 0_u32);
    loop {
        let items = stream.ready().await?;
        if items.is_empty() {
            break;
        }
        events += u32::try_from(items.len())?;
    }
    Ok(f64::from(events) / began.elapsed().as_secs_f64())
}

/// A subscriber beside the agents that write.
async fn as_they_happen(factory: &insula_engine::ExecutionEngineFactory, time: Duration) -> Result<f64> {
    let user = island::user(1);
    let context = island::context(&user, 1);
    let thread: ThreadId = context.thread().clone();
    let mut stream = factory.events(&user, &thread, 0);
    let writer = {
        let factory = factory.clone();
        tokio::spawn(async move {
            let engine = factory.create_for_user(&context)?;
            let (mut context, until) = (context, Instant::now() + time);
            let mut written = 0_u64;
            while Instant::now() < until {
                written += engine.execute_agent(&context, "chatty", json!(null)).await?.usage.events;
                context = context.next_run();
            }
            anyhow::Ok(written)
        })
    };
    let (began, mut received) = (Instant::now(), 0_u64);
    let mut written = None;
    tokio::pin!(writer);
    while written != Some(received) {
        tokio::select! {
            biased;
            item = stream.next() => if let Some(StreamItem::Event(_)) = item? { received += 1 },
            done = &mut writer, if written.is_none() => written = Some(done??),
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    Ok(received as f64 / began.elapsed().as_secs_f64())
}
