//! `insula runs`.

use insula_context::{Clock, SystemClock, ThreadId, Timestamp};
use insula_infra::{Page, PageRequest, RunFilter, RunRecord, RunStatus};
use serde_json::Value;

use super::Desk;
use crate::{cli::RunsArgs, exit::Stop, identity, output::Palette, table::Columns, wiring, words};

/// Lists the user's runs, newest first.
pub(super) async fn runs(desk: &Desk<'_>, args: RunsArgs) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let thread = args.thread.map(ThreadId::new).transpose()?;
    let filter = RunFilter { thread, status: args.status.map(Into::into), ..RunFilter::default() };
    let page = PageRequest { cursor: None, limit: args.limit as usize };
    let page = match wiring::existing(&desk.settings)? {
        Some(backend) => backend.runs.runs(&scope, &filter, &page).await?,
        None => Page { items: Vec::new(), next: None },
    };
    if desk.output.json {
        return desk.output.json(&page);
    }
    table(desk, &page)?;
    if page.items.is_empty() {
        desk.output.note(format!("no runs of {scope} here yet; `insula run echo salve` makes one"));
    } else if page.next.is_some() {
        desk.output.note("there are more: raise --limit");
    }
    Ok(())
}

fn table(desk: &Desk<'_>, page: &Page<RunRecord>) -> Result<(), Stop> {
    if page.items.is_empty() {
        return Ok(());
    }
    // People want to know how long ago, programs when.
    let when = if desk.output.results_on_terminal { "ago>" } else { "accepted" };
    let now = SystemClock::new().now();
    let mut columns =
        Columns::new(desk.output, &["run", "agent", "status", when, "took>", "events>", "what came of it"]);
    for run in &page.items {
        columns.row(row(desk, run, now));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(coloured(line, desk.output.results)))
}

fn row(desk: &Desk<'_>, run: &RunRecord, now: Timestamp) -> [String; 7] {
    let accepted = if desk.output.results_on_terminal {
        words::duration(now.since(run.created_at))
    } else {
        desk.output.date(run.created_at)
    };
    let agent = match run.header.parent {
        Some(_) => format!("└ {}", run.header.agent),
        None => run.header.agent.to_string(),
    };
    let took = |end: Timestamp| words::duration(end.since(run.created_at));
    [
        run.header.run.to_string(),
        agent,
        run.status.as_str().to_owned(),
        accepted,
        run.ended_at.map_or_else(|| "-".to_owned(), took),
        run.events.to_string(),
        outcome(run),
    ]
}

fn outcome(run: &RunRecord) -> String {
    let value =
        |raw: &insula_infra::RawJson| words::short(&serde_json::from_str::<Value>(raw.get()).unwrap_or_default());
    let text = match run.status {
        RunStatus::Failed => {
            run.failure.as_ref().map(|failure| format!("{}: {}", failure.reason.as_str(), failure.message))
        }
        RunStatus::Completed => run.result.as_ref().map(value),
        _ => run.cancel.as_ref().map(ToString::to_string),
    };
    // What is longer is seen with `insula tail`.
    words::cut(&words::plain(&text.unwrap_or_default()), 60)
}

fn coloured(line: String, paint: Palette) -> String {
    if !paint.coloured {
        return line;
    }
    let words = [
        (" completed ", paint.green(" completed ")),
        (" failed ", paint.red(" failed ")),
        (" cancelled ", paint.yellow(" cancelled ")),
    ];
    words.iter().fold(line, |line, (word, colour)| line.replacen(word, colour, 1))
}
