//! `insula schedule`.

use insula_context::ThreadId;
use insula_engine::{ExecutionEngineFactory, Schedule, Scheduled};
use serde_json::json;

use super::Desk;
use crate::{
    cli::{ScheduleAddArgs, ScheduleCommand},
    exit::{Kind, Stop},
    identity, input,
    table::Columns,
    wiring,
};

/// Keeps, lists, pauses and forgets schedules. `insula work` fires them.
pub(super) async fn schedule(desk: &Desk<'_>, command: ScheduleCommand) -> Result<(), Stop> {
    match command {
        ScheduleCommand::Add(args) => add(desk, args).await,
        ScheduleCommand::List => list(desk).await,
        ScheduleCommand::Remove { name } => remove(desk, &name).await,
        ScheduleCommand::Pause { name } => {
            let scope = identity::caller(&desk.settings)?;
            let changed = existing(desk, &name)?.pause_schedule(&scope, &name).await?;
            show(desk, &changed.ok_or_else(|| absent(&name))?)
        }
        ScheduleCommand::Resume { name } => {
            let scope = identity::caller(&desk.settings)?;
            let changed = existing(desk, &name)?.resume_schedule(&scope, &name).await?;
            show(desk, &changed.ok_or_else(|| absent(&name))?)
        }
    }
}

async fn add(desk: &Desk<'_>, args: ScheduleAddArgs) -> Result<(), Stop> {
    let input = input::read(args.input.as_deref())?;
    let scope = identity::caller(&desk.settings)?;
    let mut schedule = Schedule::new(args.name, args.cron, args.agent, input)
        .zone(args.zone)
        .missed(args.missed.into())
        .policy(args.terms.policy.into())
        .priority(args.terms.priority);
    schedule.thread = args.terms.thread.map(ThreadId::new).transpose()?;
    schedule.timeout = args.terms.timeout;
    let kept = wiring::factory(&desk.settings)?.schedule(&scope, schedule).await?;
    show(desk, &kept)?;
    if !desk.output.json {
        desk.output.note("whoever works on the queue then fires it: `insula work`");
    }
    Ok(())
}

async fn list(desk: &Desk<'_>) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let schedules = match wiring::is_there(&desk.settings.database)? {
        true => wiring::factory(&desk.settings)?.schedules(&scope).await?,
        false => Vec::new(),
    };
    if desk.output.json {
        return desk.output.json(&json!({"schedules": schedules}));
    }
    if schedules.is_empty() {
        desk.output.note(format!("no schedules of {scope} here yet; `insula schedule add --help` has examples"));
        return Ok(());
    }
    let mut columns = Columns::new(desk.output, &["schedule", "cron", "zone", "missed", "agent", "next"]);
    for Scheduled { schedule, next_at, .. } in &schedules {
        columns.row([
            schedule.name.clone(),
            schedule.cron.clone(),
            schedule.zone.clone(),
            schedule.missed.as_str().to_owned(),
            schedule.agent.clone(),
            next_at.map_or_else(|| "paused".to_owned(), |at| desk.output.date(at)),
        ]);
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))
}

async fn remove(desk: &Desk<'_>, name: &str) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    if !existing(desk, name)?.unschedule(&scope, name).await? {
        return Err(absent(name));
    }
    if desk.output.json {
        return desk.output.json(&json!({"removed": name}));
    }
    desk.output.line(format!("{name} is forgotten"))
}

fn show(desk: &Desk<'_>, kept: &Scheduled) -> Result<(), Stop> {
    if desk.output.json {
        return desk.output.json(kept);
    }
    let name = &kept.schedule.name;
    desk.output.line(match kept.next_at {
        Some(next) => format!("{name} comes next at {}", desk.output.date(next)),
        None => format!("{name} is paused"),
    })
}

fn absent(name: &str) -> Stop {
    Stop::new(Kind::NotFound, format!("there is no schedule \"{name}\"")).advise("`insula schedule list` lists them")
}

/// An engine on the database; without one there is no schedule either.
fn existing(desk: &Desk<'_>, name: &str) -> Result<ExecutionEngineFactory, Stop> {
    if wiring::is_there(&desk.settings.database)? { wiring::factory(&desk.settings) } else { Err(absent(name)) }
}
