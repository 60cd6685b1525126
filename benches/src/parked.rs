//! What 10,000 runs hold while all of them wait.

use std::time::Duration;

use anyhow::Result;
use insula_engine::AgentThreads;
use serde_json::json;

use crate::{
    island::{self, Store},
    measure,
    report::{Report, Target},
};

const PARKED: usize = 10_000;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    report.section("10,000 runs that wait");
    let runtime = island::runtime(2)?;
    let folder = tempfile::tempdir()?;
    let bytes = runtime.block_on(async {
        let factory = island::factory(Store::Memory.open(folder.path())?, AgentThreads::Own(2))?;
        park(&factory, 100).await;
        let before = measure::resident();
        park(&factory, PARKED).await;
        anyhow::Ok(measure::resident().saturating_sub(before))
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let each = bytes as f64 / PARKED as f64;
    report.figure("resident memory per parked run, its engine included", each, "B", Target::AtMost(8_192.0));
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

async fn park(factory: &insula_engine::ExecutionEngineFactory, runs: usize) {
    let live = factory.metrics().runs_started;
    for n in 0..runs {
        let factory = factory.clone();
        tokio::spawn(async move {
            let context = island::context(&island::user(n % 100), n);
            let engine = factory.create_for_user(&context)?;
            engine.execute_agent(&context, "park", json!(n)).await?;
            anyhow::Ok(())
        });
    }
    while factory.metrics().runs_started < live + runs as u64 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
}
