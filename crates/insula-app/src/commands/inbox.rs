//! `insula inbox`.

use insula_context::{Clock, RunId, SystemClock, Timestamp};
use insula_infra::{OpenQuestion, Page, PageRequest, WaitFor};
use serde_json::Value;

use super::Desk;
use crate::{cli::InboxArgs, exit::Stop, identity, table::Columns, wiring, words};

/// Lists the user's open questions, newest first.
pub(super) async fn inbox(desk: &Desk<'_>, args: InboxArgs) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let run = args.run.map(RunId::new).transpose()?;
    let page = PageRequest { cursor: None, limit: args.limit as usize };
    let page = match wiring::existing(&desk.settings)? {
        Some(backend) => backend.inbox.questions(&scope, run.as_ref(), &page).await?,
        None => Page { items: Vec::new(), next: None },
    };
    if desk.output.json {
        return desk.output.json(&page);
    }
    table(desk, &page)?;
    if page.items.is_empty() {
        desk.output.note(format!("nobody asks {scope} anything"));
    } else {
        desk.output.note("`insula answer RUN VALUE` answers the oldest question of a run, --question N another");
        if page.next.is_some() {
            desk.output.note("there are more: raise --limit");
        }
    }
    Ok(())
}

fn table(desk: &Desk<'_>, page: &Page<OpenQuestion>) -> Result<(), Stop> {
    if page.items.is_empty() {
        return Ok(());
    }
    let when = if desk.output.results_on_terminal { "ago>" } else { "asked" };
    let now = SystemClock::new().now();
    let mut columns = Columns::new(desk.output, &["run", "question>", "agent", when, "expires", "what is asked"]);
    for open in &page.items {
        columns.row(row(desk, open, now));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

fn row(desk: &Desk<'_>, open: &OpenQuestion, now: Timestamp) -> [String; 6] {
    let asked = open.question.asked_at;
    let asked =
        if desk.output.results_on_terminal { words::duration(now.since(asked)) } else { desk.output.date(asked) };
    [
        open.header.run.to_string(),
        open.question.index.to_string(),
        open.header.agent.to_string(),
        asked,
        open.question.expires_at.map_or_else(|| "-".to_owned(), |at| desk.output.date(at)),
        question(open),
    ]
}

fn question(open: &OpenQuestion) -> String {
    let value: Value = serde_json::from_str(open.question.question.get()).unwrap_or_default();
    let text = value["text"].as_str().map_or_else(|| words::short(&value), words::plain);
    let about = if open.question.kind == WaitFor::Reconcile { "did it happen? " } else { "" };
    let choices: Vec<&str> = value["choices"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let choices = if choices.is_empty() { String::new() } else { format!(" [{}]", words::plain(&choices.join(", "))) };
    words::cut(&format!("{about}{text}{choices}"), 100)
}
