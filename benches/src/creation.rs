//! What it costs to make a context, an engine and an agent.

use std::time::Instant;

use anyhow::Result;
use insula_engine::AgentThreads;

use crate::{
    island::{self, Store},
    measure,
    report::{Report, Target},
};

const MANY: usize = 100_000;
const LIVE: usize = 20_000;

pub(crate) fn measure(report: &mut Report) -> Result<()> {
    report.section("context + engine + agent");
    let runtime = island::runtime(2)?;
    let _inside = runtime.enter();
    let folder = tempfile::tempdir()?;
    let factory = island::factory(Store::Memory.open(folder.path())?, AgentThreads::Own(2))?;
    let users: Vec<_> = (0..1_000).map(island::user).collect();
    let make = |n: usize| -> Result<_> {
        let context = island::context(&users[n % users.len()], n);
        let engine = factory.create_for_user(&context)?;
        let agent = engine.create_agent_instance(&context, "noop")?;
        Ok((context, engine, agent))
    };
    for n in 0..1_000 {
        drop(make(n)?);
    }
    let began = Instant::now();
    for n in 0..MANY {
        drop(make(n)?);
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let micros = began.elapsed().as_secs_f64() * 1e6 / MANY as f64;
    report.figure("made and dropped", micros, "µs", Target::AtMost(5.0));
    let before = measure::resident();
    let live = (0..LIVE).map(make).collect::<Result<Vec<_>>>()?;
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    let bytes = measure::resident().saturating_sub(before) as f64 / LIVE as f64;
    report.figure("resident while it lives", bytes, "B", Target::AtMost(4_096.0));
    drop(live);
    Ok(())
}
