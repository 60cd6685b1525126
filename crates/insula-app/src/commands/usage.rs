//! `insula usage`.

use std::time::Duration;

use serde::Deserialize;

use super::Desk;
use crate::{cli::UsageArgs, exit::Stop, table::Columns, words};

#[derive(Deserialize)]
struct Report {
    from: String,
    to: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    date: String,
    agent: String,
    completed: u64,
    failed: u64,
    cancelled: u64,
    tokens: u64,
    money: u64,
    run_ms: u64,
    #[serde(default)]
    p50_ms: Option<u64>,
    #[serde(default)]
    p95_ms: Option<u64>,
}

/// What the user has used, by day and agent.
pub(super) async fn usage(desk: &Desk<'_>, args: UsageArgs) -> Result<(), Stop> {
    let island = desk.island()?;
    let said = island.usage(args.from.as_deref(), args.to.as_deref()).await?;
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Report { from, to, items } = said.read()?;
    if items.is_empty() {
        desk.output.note(format!("{} has used nothing from {from} to {to}", island.owner().await));
        return Ok(());
    }
    let headings =
        ["day", "agent", "completed>", "failed>", "cancelled>", "tokens>", "money>", "time>", "half>", "95 of 100>"];
    let mut columns = Columns::new(desk.output, &headings);
    for item in items {
        columns.row(row(item));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

fn row(item: Item) -> [String; 10] {
    let time = |millis: u64| words::duration(Duration::from_millis(millis));
    let bound = |millis: Option<u64>| millis.map_or_else(|| "-".to_owned(), |millis| format!("< {}", time(millis)));
    [
        item.date,
        item.agent,
        item.completed.to_string(),
        item.failed.to_string(),
        item.cancelled.to_string(),
        item.tokens.to_string(),
        // Kept in millionths.
        format!("{}.{:06}", item.money / 1_000_000, item.money % 1_000_000),
        time(item.run_ms),
        bound(item.p50_ms),
        bound(item.p95_ms),
    ]
}
