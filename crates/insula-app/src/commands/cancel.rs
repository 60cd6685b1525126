//! `insula cancel`.

use insula_context::{RunId, ThreadId};
use serde::Deserialize;
use serde_json::json;

use super::{Desk, no_run};
use crate::{cli::CancelArgs, exit::Stop, island::Filter};

/// Asks to stop a run, or all of a filter. Whoever holds them obeys.
pub(super) async fn cancel(desk: &Desk<'_>, args: CancelArgs) -> Result<(), Stop> {
    match &args.run {
        Some(run) => one(desk, &RunId::new(run)?, &args.reason).await,
        None => many(desk, &args).await,
    }
}

/// What became of the wish.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Became {
    Recorded,
    Ahead,
    /// The run has ended already, in this status.
    Ended(String),
}

async fn one(desk: &Desk<'_>, run: &RunId, reason: &str) -> Result<(), Stop> {
    #[derive(Deserialize)]
    struct Said {
        cancel: Became,
    }
    let island = desk.island()?;
    let Some(said) = island.cancel(run, reason).await? else { return Err(no_run(&*island, run).await) };
    let became = said.read::<Said>()?.cancel;
    let words = match &became {
        Became::Recorded => format!("{run} is being stopped"),
        Became::Ahead => format!("there is no run {run} yet; if it comes within an hour, it is stopped"),
        Became::Ended(status) => format!("{run} has ended before: {status}"),
    };
    if desk.output.json {
        desk.output.json(&said)?;
    } else {
        desk.output.line(&words)?;
    }
    match became {
        // What was wanted is so.
        Became::Ended(status) if status != "cancelled" => Err(Stop::failed(words)),
        Became::Recorded => {
            desk.output.note(island.words().obeyed);
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn many(desk: &Desk<'_>, args: &CancelArgs) -> Result<(), Stop> {
    let thread = args.thread.as_ref().map(ThreadId::new).transpose()?;
    let filter = Filter { thread, agent: args.agent.clone(), status: None };
    let runs = desk.island()?.cancel_all(&filter, &args.reason).await?;
    if desk.output.json {
        return desk.output.json(&json!({"runs": runs}));
    }
    runs.iter().try_for_each(|run| desk.output.line(run))?;
    desk.output.note(match runs.len() {
        0 => "there was nothing to stop".to_owned(),
        1 => "one run is being stopped".to_owned(),
        runs => format!("{runs} runs are being stopped"),
    });
    Ok(())
}
