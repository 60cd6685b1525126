//! `insula submit`.

use insula_context::{RunId, ThreadId};

use super::Desk;
use crate::{cli::SubmitArgs, exit::Stop, input, island::Wish};

/// Hands a run to the queue and prints its id. Nothing is worked on here.
pub(super) async fn submit(desk: &Desk<'_>, args: SubmitArgs) -> Result<(), Stop> {
    let wish = wish(args)?;
    let island = desk.island()?;
    let run = island.submit(wish).await?;
    if desk.output.json {
        return desk.output.json(&run);
    }
    let run: serde_json::Value = run.read()?;
    desk.output.line(run["run_id"].as_str().unwrap_or_default())?;
    desk.output.note(island.words().picked_up);
    Ok(())
}

fn wish(args: SubmitArgs) -> Result<Wish, Stop> {
    Ok(Wish {
        input: input::read(args.input.as_deref())?,
        agent: args.agent,
        thread: args.terms.thread.map(ThreadId::new).transpose()?,
        run: args.run.map(RunId::new).transpose()?,
        policy: args.terms.policy.into(),
        priority: args.terms.priority,
        delay: args.delay,
        timeout: args.terms.timeout,
        key: args.idempotency_key,
    })
}
