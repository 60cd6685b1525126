//! `insula work`.

use insula_engine::Metrics;
use serde_json::json;

use super::Desk;
use crate::{cli::WorkArgs, exit::Stop, interrupt::Interrupt, wiring};

/// Works on everybody's runs and schedules until it is asked to stop. Then it takes no more, and what is in progress may
/// end. Asked a second time, it does not wait.
pub(super) async fn work(desk: &Desk<'_>, args: WorkArgs) -> Result<(), Stop> {
    let factory = wiring::factory(&desk.settings).await?;
    let mut interrupt = Interrupt::listen()?;
    factory.work();
    desk.output.note("working on the queue; Ctrl-C stops when what is in progress has ended");
    interrupt.asked().await;
    let live = factory.metrics().runs_live;
    if live > 0 {
        desk.output.note(format!("{live} in progress, waiting up to {}", humantime::format_duration(args.drain)));
    }
    let stopped = tokio::select! {
        stopped = factory.shutdown(args.drain) => stopped,
        // Being asked a second time ends the process.
        () = interrupt.asked() => 0,
    };
    report(desk, factory.metrics(), stopped)
}

fn report(desk: &Desk<'_>, did: Metrics, stopped: usize) -> Result<(), Stop> {
    let Metrics { runs_completed, runs_failed, runs_cancelled, .. } = did;
    if desk.output.json {
        return desk.output.json(&json!({
            "completed": runs_completed,
            "failed": runs_failed,
            "cancelled": runs_cancelled,
            "stopped": stopped,
        }));
    }
    desk.output.line(format!(
        "{runs_completed} completed, {runs_failed} failed, {runs_cancelled} cancelled, {stopped} of them by stopping here"
    ))
}
