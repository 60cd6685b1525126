//! `insula inbox`.

use insula_client::Page;
use insula_context::{Clock, RunId, SystemClock, Timestamp};

use super::Desk;
use crate::{cli::InboxArgs, exit::Stop, island::Question, table::Columns, words};

/// Lists the user's open questions, newest first.
pub(super) async fn inbox(desk: &Desk<'_>, args: InboxArgs) -> Result<(), Stop> {
    let (island, run) = (desk.island()?, args.run.map(RunId::new).transpose()?);
    let page = island.inbox(run.as_ref(), args.limit as usize).await?;
    if desk.output.json {
        return desk.output.json(&page);
    }
    table(desk, &page)?;
    if page.items.is_empty() {
        desk.output.note(format!("nobody asks {} anything", island.owner().await));
    } else {
        desk.output.note("`insula answer RUN VALUE` answers the oldest question of a run, --question N another");
        if page.next.is_some() {
            desk.output.note("there are more: raise --limit");
        }
    }
    Ok(())
}

fn table(desk: &Desk<'_>, page: &Page) -> Result<(), Stop> {
    if page.items.is_empty() {
        return Ok(());
    }
    let when = if desk.output.results_on_terminal { "ago>" } else { "asked" };
    let now = SystemClock::new().now();
    let mut columns = Columns::new(desk.output, &["run", "question>", "agent", when, "expires", "what is asked"]);
    for open in &page.items {
        columns.row(row(desk, &open.read()?, now));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

fn row(desk: &Desk<'_>, open: &Question, now: Timestamp) -> [String; 6] {
    let asked = open.asked_at;
    let asked =
        if desk.output.results_on_terminal { words::duration(now.since(asked)) } else { desk.output.date(asked) };
    [
        open.run_id.clone(),
        open.index.to_string(),
        open.agent.clone(),
        asked,
        open.expires_at.map_or_else(|| "-".to_owned(), |at| desk.output.date(at)),
        question(open),
    ]
}

fn question(open: &Question) -> String {
    let value = &open.question;
    let text = value["text"].as_str().map_or_else(|| words::short(value), words::plain);
    let about = if open.waiting_for == "reconcile" { "did it happen? " } else { "" };
    let choices: Vec<&str> = value["choices"].as_array().into_iter().flatten().filter_map(|it| it.as_str()).collect();
    let choices = if choices.is_empty() { String::new() } else { format!(" [{}]", words::plain(&choices.join(", "))) };
    words::cut(&format!("{about}{text}{choices}"), 100)
}
