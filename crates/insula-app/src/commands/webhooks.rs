//! `insula webhooks`.

use insula_client::Page;
use insula_context::{RunId, Timestamp};
use insula_infra::WebhookState;
use serde::Deserialize;

use super::Desk;
use crate::{
    cli::{WebhooksCommand, WebhooksListArgs},
    exit::{Kind, Stop},
    table::Columns,
    words,
};

/// Lists calls that tell of the ends of runs, or makes one again.
pub(super) async fn webhooks(desk: &Desk<'_>, command: Option<WebhooksCommand>) -> Result<(), Stop> {
    match command.unwrap_or(WebhooksCommand::List(WebhooksListArgs { state: None, limit: 20 })) {
        WebhooksCommand::List(args) => list(desk, args).await,
        WebhooksCommand::Resend { run } => resend(desk, &RunId::new(run)?).await,
    }
}

#[derive(Deserialize)]
struct Call {
    run_id: String,
    url: String,
    state: String,
    attempts: u32,
    #[serde(default)]
    next_at: Option<Timestamp>,
    #[serde(default)]
    last_error: Option<String>,
}

async fn list(desk: &Desk<'_>, args: WebhooksListArgs) -> Result<(), Stop> {
    let island = desk.island()?;
    let state = args.state.as_deref().and_then(WebhookState::parse);
    let page = island.webhooks(state, args.limit as usize).await?;
    if desk.output.json {
        return desk.output.json(&page);
    }
    if page.items.is_empty() {
        desk.output.note(format!("nobody is told of runs of {}", island.owner().await));
        return Ok(());
    }
    table(desk, &page)?;
    if page.next.is_some() {
        desk.output.note("there are more: raise --limit");
    }
    Ok(())
}

fn table(desk: &Desk<'_>, page: &Page) -> Result<(), Stop> {
    let mut columns = Columns::new(desk.output, &["run", "state", "attempts>", "next", "url~", "what came of it~"]);
    for call in &page.items {
        let Call { run_id, url, state, attempts, next_at, last_error } = call.read()?;
        let next = next_at.map_or_else(|| "-".to_owned(), |at| desk.output.date(at));
        columns.row([run_id, state, attempts.to_string(), next, url, last_error.unwrap_or_default()]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

async fn resend(desk: &Desk<'_>, run: &RunId) -> Result<(), Stop> {
    let island = desk.island()?;
    let Some(said) = island.resend(run).await? else {
        let message = format!("{} has no run {run} that has ended and of which somebody is told", island.owner().await);
        return Err(Stop::new(Kind::NotFound, message).advise("`insula webhooks` lists the calls"));
    };
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Call { run_id, url, .. } = said.read()?;
    desk.output.line(words::plain(&format!("{url} is told of {run_id} again")))
}
