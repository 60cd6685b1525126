//! `insula runs`.

use insula_client::Page;
use insula_context::{Clock, SystemClock, ThreadId, Timestamp};
use insula_infra::RunStatus;

use super::Desk;
use crate::{
    cli::RunsArgs,
    exit::Stop,
    island::{Filter, Run},
    output::Palette,
    table::Columns,
    words,
};

/// Lists the user's runs, newest first.
pub(super) async fn runs(desk: &Desk<'_>, args: RunsArgs) -> Result<(), Stop> {
    let thread = args.thread.map(ThreadId::new).transpose()?;
    let filter = Filter { thread, status: args.status.map(Into::into), agent: None };
    let island = desk.island()?;
    let page = island.runs(&filter, args.limit as usize).await?;
    if desk.output.json {
        return desk.output.json(&page);
    }
    table(desk, &page)?;
    if page.items.is_empty() {
        let owner = island.owner().await;
        desk.output.note(format!("no runs of {owner} here yet; `insula run echo salve` makes one"));
    } else if page.next.is_some() {
        desk.output.note("there are more: raise --limit");
    }
    Ok(())
}

fn table(desk: &Desk<'_>, page: &Page) -> Result<(), Stop> {
    if page.items.is_empty() {
        return Ok(());
    }
    // People want to know how long ago, programs when.
    let when = if desk.output.results_on_terminal { "ago>" } else { "accepted" };
    let now = SystemClock::new().now();
    let mut columns =
        Columns::new(desk.output, &["run", "agent", "status", when, "took>", "events>", "what came of it"]);
    for run in &page.items {
        columns.row(row(desk, &run.read()?, now));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(coloured(line, desk.output.results)))
}

fn row(desk: &Desk<'_>, run: &Run, now: Timestamp) -> [String; 7] {
    let accepted = if desk.output.results_on_terminal {
        words::duration(now.since(run.created_at))
    } else {
        desk.output.date(run.created_at)
    };
    let agent = match run.parent_run_id {
        Some(_) => format!("└ {}", run.agent),
        None => run.agent.clone(),
    };
    let took = |end: Timestamp| words::duration(end.since(run.created_at));
    [
        run.run_id.clone(),
        agent,
        run.status.as_str().to_owned(),
        accepted,
        run.ended_at.map_or_else(|| "-".to_owned(), took),
        run.events.to_string(),
        outcome(run),
    ]
}

fn outcome(run: &Run) -> String {
    let text = match run.status {
        RunStatus::Failed => {
            run.failure.as_ref().map(|failure| format!("{}: {}", failure.reason.as_str(), failure.message))
        }
        RunStatus::Completed => run.result.as_ref().map(words::short),
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
