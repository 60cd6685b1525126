//! `insula overview`: how everything is, for operators.

use std::time::Duration;

use insula_context::Timestamp;
use serde::Deserialize;

use super::Desk;
use crate::{exit::Stop, table::Columns, words};

#[derive(Deserialize)]
pub(super) struct Overview {
    pub(super) version: String,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) draining: bool,
    pub(super) counts: Counts,
    pub(super) nodes: Vec<Node>,
    pub(super) health: Vec<Component>,
    #[serde(default)]
    sockets: Option<u64>,
    #[serde(default)]
    streams: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Counts {
    pub(super) queued: u64,
    delayed: u64,
    running: u64,
    waiting: u64,
    users: u64,
    pub(super) oldest_queued_ms: u64,
    webhooks_due: u64,
    pub(super) webhooks_dead: u64,
}

#[derive(Deserialize)]
pub(super) struct Node {
    worker: String,
    runs: u64,
    lease_until: Timestamp,
}

#[derive(Deserialize)]
pub(super) struct Component {
    pub(super) component: String,
    pub(super) health: String,
    #[serde(default)]
    pub(super) detail: Option<String>,
}

/// Counts and health of all users together.
pub(super) async fn overview(desk: &Desk<'_>) -> Result<(), Stop> {
    let said = desk.island()?.overview().await?;
    if desk.output.json {
        return desk.output.json(&said);
    }
    let overview: Overview = said.read()?;
    lines(desk, &overview).into_iter().try_for_each(|line| desk.output.line(line))?;
    nodes(desk, &overview.nodes)
}

fn lines(desk: &Desk<'_>, overview: &Overview) -> Vec<String> {
    let (paint, counts) = (desk.output.results, &overview.counts);
    let line = |name: &str, text: String| format!("{} {}", paint.bold(&format!("{name:<9}")), words::plain(&text));
    let since = overview.started_at.map_or_else(String::new, |at| format!(", since {}", desk.output.date(at)));
    let draining = if overview.draining { ", draining" } else { "" };
    let Counts { queued, delayed, running, waiting, users, webhooks_due, webhooks_dead, .. } = counts;
    let oldest = match counts.queued {
        0 => String::new(),
        _ => format!(" (the oldest for {})", words::duration(Duration::from_millis(counts.oldest_queued_ms))),
    };
    let mut lines = vec![
        line("version", format!("{}{since}{draining}", overview.version)),
        line("runs", format!("{queued} queued{oldest}, {delayed} delayed, {running} running, {waiting} waiting")),
        line("users", format!("{users} with runs that have not ended")),
        line("webhooks", format!("{webhooks_due} due, {webhooks_dead} dead")),
    ];
    if let (Some(sockets), Some(streams)) = (overview.sockets, overview.streams) {
        lines.push(line("readers", format!("{sockets} sockets, {streams} streams")));
    }
    for Component { component, health, detail } in &overview.health {
        lines.push(line("health", format!("{health}: {component} {}", detail.as_deref().unwrap_or_default())));
    }
    lines
}

pub(super) fn nodes(desk: &Desk<'_>, nodes: &[Node]) -> Result<(), Stop> {
    if nodes.is_empty() {
        desk.output.note("nobody works on the queue");
        return Ok(());
    }
    let mut columns = Columns::new(desk.output, &["node", "runs>", "lease until"]);
    for Node { worker, runs, lease_until } in nodes {
        columns.row([worker.clone(), runs.to_string(), desk.output.date(*lease_until)]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}
