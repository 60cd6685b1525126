//! `insula schedule`.

use insula_client::Json;
use insula_context::ThreadId;
use insula_engine::Schedule;
use serde_json::json;

use super::Desk;
use crate::{
    cli::{ScheduleAddArgs, ScheduleCommand},
    exit::{Kind, Stop},
    input,
    island::{Planned, Turn},
    table::Columns,
};

/// Keeps, lists, pauses and forgets schedules. Whoever works on the queue fires them.
pub(super) async fn schedule(desk: &Desk<'_>, command: ScheduleCommand) -> Result<(), Stop> {
    match command {
        ScheduleCommand::Add(args) => add(desk, args).await,
        ScheduleCommand::List => list(desk).await,
        ScheduleCommand::Remove { name } => remove(desk, &name).await,
        ScheduleCommand::Pause { name } => turn(desk, &name, Turn::Pause).await,
        ScheduleCommand::Resume { name } => turn(desk, &name, Turn::Resume).await,
    }
}

async fn add(desk: &Desk<'_>, args: ScheduleAddArgs) -> Result<(), Stop> {
    let input = input::read(args.input.as_deref())?;
    let mut schedule = Schedule::new(args.name, args.cron, args.agent, input)
        .zone(args.zone)
        .missed(args.missed.into())
        .policy(args.terms.policy.into())
        .priority(args.terms.priority);
    schedule.thread = args.terms.thread.map(ThreadId::new).transpose()?;
    schedule.timeout = args.terms.timeout;
    let island = desk.island()?;
    show(desk, &island.schedule(schedule).await?)?;
    if !desk.output.json {
        desk.output.note(island.words().fired);
    }
    Ok(())
}

async fn list(desk: &Desk<'_>) -> Result<(), Stop> {
    let island = desk.island()?;
    let schedules = island.schedules().await?;
    if desk.output.json {
        return desk.output.json(&json!({"schedules": schedules}));
    }
    if schedules.is_empty() {
        let owner = island.owner().await;
        desk.output.note(format!("no schedules of {owner} here yet; `insula schedule add --help` has examples"));
        return Ok(());
    }
    let mut columns = Columns::new(desk.output, &["schedule", "cron", "zone", "missed", "agent", "next"]);
    for schedule in &schedules {
        let Planned { name, cron, zone, missed, agent, next_at } = schedule.read()?;
        let next = next_at.map_or_else(|| "paused".to_owned(), |at| desk.output.date(at));
        columns.row([name, cron, zone, missed, agent, next]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

async fn remove(desk: &Desk<'_>, name: &str) -> Result<(), Stop> {
    if !desk.island()?.unschedule(name).await? {
        return Err(absent(name));
    }
    if desk.output.json {
        return desk.output.json(&json!({"removed": name}));
    }
    desk.output.line(format!("{name} is forgotten"))
}

async fn turn(desk: &Desk<'_>, name: &str, turn: Turn) -> Result<(), Stop> {
    let changed = desk.island()?.turn(name, turn).await?;
    show(desk, &changed.ok_or_else(|| absent(name))?)
}

fn show(desk: &Desk<'_>, kept: &Json) -> Result<(), Stop> {
    if desk.output.json {
        return desk.output.json(kept);
    }
    let Planned { name, next_at, .. } = kept.read()?;
    desk.output.line(match next_at {
        Some(next) => format!("{name} comes next at {}", desk.output.date(next)),
        None => format!("{name} is paused"),
    })
}

fn absent(name: &str) -> Stop {
    Stop::new(Kind::NotFound, format!("there is no schedule \"{name}\"")).advise("`insula schedule list` lists them")
}
