//! `insula audit`.

use insula_context::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Desk;
use crate::{
    cli::{AuditCommand, AuditListArgs},
    exit::{Kind, Stop},
    island::{Verdict, Whose},
    table::Columns,
    words,
};

/// Lists or verifies what was written down.
pub(super) async fn audit(desk: &Desk<'_>, command: Option<AuditCommand>) -> Result<(), Stop> {
    match command.unwrap_or(AuditCommand::List(AuditListArgs { after: 0, limit: 50 })) {
        AuditCommand::List(args) => list(desk, &args).await,
        AuditCommand::Verify { all } => verify(desk, if all { Whose::All } else { Whose::Own }).await,
    }
}

#[derive(Deserialize)]
struct Entries {
    items: Vec<Entry>,
    #[serde(default)]
    next: Option<u64>,
}

#[derive(Deserialize)]
struct Entry {
    number: u64,
    at: Timestamp,
    action: String,
    detail: Value,
}

async fn list(desk: &Desk<'_>, args: &AuditListArgs) -> Result<(), Stop> {
    let island = desk.island()?;
    let said = island.audit(args.after, args.limit as usize).await?;
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Entries { items, next } = said.read()?;
    if items.is_empty() {
        desk.output.note(format!("nothing is written down of {} behind {}", island.owner().await, args.after));
        return Ok(());
    }
    let mut columns = Columns::new(desk.output, &["number>", "when", "action", "by", "on~"]);
    for entry in items {
        columns.row(row(desk, entry));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))?;
    if let Some(next) = next {
        desk.output.note(format!("there may be more: --after {next}"));
    }
    Ok(())
}

fn row(desk: &Desk<'_>, Entry { number, at, action, detail }: Entry) -> [String; 5] {
    let by = &detail["by"];
    let by = format!("{}/{}", words::short(&by["tenant_id"]), words::short(&by["user_id"]));
    [number.to_string(), desk.output.date(at), action, by, words::short(&detail["on"])]
}

async fn verify(desk: &Desk<'_>, whose: Whose) -> Result<(), Stop> {
    let verdicts = desk.island()?.verify(&whose).await?;
    let is_whole = verdicts.iter().all(|verdict| verdict.verified.broken.is_none());
    if desk.output.json {
        desk.output.json(&json!({"ok": is_whole, "logs": verdicts}))?;
    } else {
        verdicts.iter().try_for_each(|verdict| desk.output.line(line(desk, verdict)))?;
        if verdicts.is_empty() {
            desk.output.note("nothing is written down here yet");
        }
    }
    if is_whole { Ok(()) } else { Err(Stop::silently(Kind::Failed)) }
}

fn line(desk: &Desk<'_>, Verdict { tenant_id, user_id, verified }: &Verdict) -> String {
    let (paint, entries) = (desk.output.results, verified.entries);
    let owner = words::plain(&format!("{tenant_id}/{user_id}"));
    match verified.broken {
        None => format!("{} {owner}: {entries} entries are as they were written", paint.green("whole ")),
        Some(number) => {
            format!("{} {owner}: entry {number} was changed, or one before it taken out", paint.red("broken"))
        }
    }
}
