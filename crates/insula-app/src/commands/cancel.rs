//! `insula cancel`.

use insula_context::{CancelReason, RunId, ThreadId};
use insula_engine::ExecutionEngineFactory;
use insula_infra::{CancelRequest, RunFilter, RunStatus};
use serde_json::json;

use super::{Desk, absent};
use crate::{cli::CancelArgs, exit::Stop, identity, wiring};

/// Asks to stop a run, or all of a filter. Whoever holds them obeys.
pub(super) async fn cancel(desk: &Desk<'_>, args: CancelArgs) -> Result<(), Stop> {
    let reason = CancelReason::new("user", &*args.reason);
    match &args.run {
        Some(run) => one(desk, &RunId::new(run)?, reason).await,
        None => many(desk, &args, reason).await,
    }
}

async fn one(desk: &Desk<'_>, run: &RunId, reason: CancelReason) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let factory = existing(desk)?.ok_or_else(|| absent(&scope, run))?;
    let outcome = factory.cancel(&scope, run, reason).await?;
    let words = match outcome {
        CancelRequest::Recorded => format!("{run} is being stopped"),
        CancelRequest::Ahead => format!("there is no run {run} yet; if it comes within an hour, it is stopped"),
        CancelRequest::Ended(status) => format!("{run} has ended before: {}", status.as_str()),
    };
    if desk.output.json {
        desk.output.json(&json!({"run_id": run, "cancel": outcome}))?;
    } else {
        desk.output.line(&words)?;
    }
    match outcome {
        // What was wanted is so.
        CancelRequest::Recorded | CancelRequest::Ahead | CancelRequest::Ended(RunStatus::Cancelled) => {
            if outcome == CancelRequest::Recorded {
                desk.output.note(OBEYED);
            }
            Ok(())
        }
        CancelRequest::Ended(_) => Err(Stop::failed(words)),
    }
}

const OBEYED: &str = "whoever holds it stops it; if nobody does, whoever works on the queue next: `insula work`";

async fn many(desk: &Desk<'_>, args: &CancelArgs, reason: CancelReason) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let thread = args.thread.as_ref().map(ThreadId::new).transpose()?;
    let filter = RunFilter { thread, agent: args.agent.clone(), ..RunFilter::default() };
    let runs = match existing(desk)? {
        Some(factory) => factory.cancel_all(&scope, &filter, reason).await?,
        None => Vec::new(),
    };
    if desk.output.json {
        return desk.output.json(&json!({"runs": runs}));
    }
    runs.iter().try_for_each(|run| desk.output.line(run.to_string()))?;
    desk.output.note(match runs.len() {
        0 => "there was nothing to stop".to_owned(),
        1 => "one run is being stopped".to_owned(),
        runs => format!("{runs} runs are being stopped"),
    });
    Ok(())
}

/// An engine on the database; `None` when there is no database yet, and with it no run.
fn existing(desk: &Desk<'_>) -> Result<Option<ExecutionEngineFactory>, Stop> {
    if wiring::is_there(&desk.settings.database)? { wiring::factory(&desk.settings).map(Some) } else { Ok(None) }
}
