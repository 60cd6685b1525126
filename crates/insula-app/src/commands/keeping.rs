//! `insula retry`, `fork`, `threads`, `delete`.

use insula_context::{RunId, ThreadId, UserScope};
use insula_engine::{ExecutionEngineFactory, StreamItem};
use insula_infra::{Deleted, Page, PageRequest, ThreadRecord};
use serde_json::json;

use super::{Desk, run};
use crate::{
    cli::{DeleteCommand, ForkArgs, RetryArgs, RunArgs, ThreadsArgs, ThreadsCommand},
    exit::{Kind, Stop},
    identity,
    table::Columns,
    view, wiring,
};

/// An engine on the database; `None` when there is no database yet.
pub(super) fn existing(desk: &Desk<'_>) -> Result<Option<ExecutionEngineFactory>, Stop> {
    if wiring::is_there(&desk.settings.database)? { wiring::factory(&desk.settings).map(Some) } else { Ok(None) }
}

/// There is no such run, or it is somebody else's.
pub(super) fn no_run(scope: &UserScope, run: &RunId) -> Stop {
    Stop::new(Kind::NotFound, format!("{scope} has no run {run}"))
        .advise("`insula runs` lists them; --user and --tenant say whose, --data-dir where")
}

fn no_thread(scope: &UserScope, thread: &ThreadId) -> Stop {
    Stop::new(Kind::NotFound, format!("{scope} has no thread {thread}"))
        .advise("`insula threads` lists them; --user and --tenant say whose, --data-dir where")
}

/// Runs a run's agent again, with the same input in the same thread, as `insula run` does.
pub(super) async fn retry(desk: &Desk<'_>, args: RetryArgs) -> Result<(), Stop> {
    let (scope, id) = (identity::caller(&desk.settings)?, RunId::new(&args.run)?);
    let factory = existing(desk)?.ok_or_else(|| no_run(&scope, &id))?;
    let record = factory.backend().runs.run(&scope, &id).await?.ok_or_else(|| no_run(&scope, &id))?;
    if !record.status.is_terminal() {
        return Err(insula_engine::Error::NotEnded { run: id, status: record.status }.into());
    }
    let input = factory.whole(&scope, &record.input).await?;
    drop(factory);
    let (agent, thread) = (record.header.agent.to_string(), Some(record.header.thread.to_string()));
    run::run(desk, RunArgs { agent, input: Some(input.to_string()), thread, run: None, timeout: None }).await
}

/// Makes a conversation that begins like another.
pub(super) async fn fork(desk: &Desk<'_>, args: ForkArgs) -> Result<(), Stop> {
    let (scope, thread) = (identity::caller(&desk.settings)?, ThreadId::new(&args.thread)?);
    let into = args.into.map(ThreadId::new).transpose()?;
    let factory = existing(desk)?.ok_or_else(|| no_thread(&scope, &thread))?;
    let absent = || Stop::new(Kind::NotFound, format!("{scope} has no thread {thread} with {} events", args.seq));
    let fork = factory.fork(&scope, &thread, args.seq, into).await?.ok_or_else(absent)?;
    if desk.output.json {
        return desk.output.json(&fork);
    }
    desk.output.line(fork.thread_id.to_string())?;
    desk.output
        .note(format!("it begins with the first {} events of {thread}; `insula run --thread` goes on", args.seq));
    Ok(())
}

/// Lists the user's conversations, or shows one.
pub(super) async fn threads(desk: &Desk<'_>, args: ThreadsArgs) -> Result<(), Stop> {
    match args.command {
        Some(ThreadsCommand::Show { thread, after }) => show(desk, &ThreadId::new(thread)?, after).await,
        None => list(desk, args.limit as usize).await,
    }
}

async fn list(desk: &Desk<'_>, limit: usize) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let page = match wiring::existing(&desk.settings)? {
        Some(backend) => backend.runs.threads(&scope, &PageRequest { cursor: None, limit }).await?,
        None => Page { items: Vec::new(), next: None },
    };
    if desk.output.json {
        return desk.output.json(&page);
    }
    if page.items.is_empty() {
        desk.output.note(format!("no threads of {scope} here yet; `insula run echo salve` makes one"));
        return Ok(());
    }
    let mut columns = Columns::new(desk.output, &["thread", "began", "events>", "forked from"]);
    for thread in &page.items {
        columns.row(row(desk, thread));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))?;
    if page.next.is_some() {
        desk.output.note("there are more: raise --limit");
    }
    Ok(())
}

fn row(desk: &Desk<'_>, thread: &ThreadRecord) -> [String; 4] {
    let fork = thread.forked_from.as_ref().map(|fork| format!("{} at {}", fork.thread_id, fork.seq));
    let began = desk.output.date(thread.created_at);
    [thread.thread_id.to_string(), began, thread.head.to_string(), fork.unwrap_or_else(|| "-".to_owned())]
}

async fn show(desk: &Desk<'_>, thread: &ThreadId, after: u64) -> Result<(), Stop> {
    let (scope, output) = (identity::caller(&desk.settings)?, desk.output);
    let backend = wiring::existing(&desk.settings)?.ok_or_else(|| no_thread(&scope, thread))?;
    backend.log.thread_events(&scope, thread, after, 1).await?.ok_or_else(|| no_thread(&scope, thread))?;
    let mut stream = insula_engine::EventStream::thread(&backend, &scope, thread, after);
    loop {
        let items = stream.ready().await?;
        if items.is_empty() {
            return Ok(());
        }
        for item in items {
            match item {
                StreamItem::Event(event) if output.json => output.json(&event)?,
                StreamItem::Event(event) => output.line(view::event_line_with_place(&event, output, output.results))?,
                StreamItem::Gap { after, next } if output.json => {
                    output.json(&json!({"gap": {"after": after, "next": next}}))?;
                }
                StreamItem::Gap { after, next } => {
                    output.line(format!("events {} to {} are not kept any more", after + 1, next - 1))?;
                }
            }
        }
    }
}

/// Deletes a conversation, or all of a user.
pub(super) async fn delete(desk: &Desk<'_>, command: DeleteCommand) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let deleted = match command {
        DeleteCommand::Thread { thread } => {
            let thread = ThreadId::new(thread)?;
            let factory = existing(desk)?.ok_or_else(|| no_thread(&scope, &thread))?;
            factory.delete_thread(&scope, &thread).await?.ok_or_else(|| no_thread(&scope, &thread))?
        }
        DeleteCommand::User { yes: false } => {
            return Err(Stop::usage(format!("everything of {scope} would be deleted, and nothing brings it back"))
                .advise("say --yes if that is meant"));
        }
        DeleteCommand::User { yes: true } => match existing(desk)? {
            Some(factory) => factory.delete_user(&scope).await?,
            None => Deleted::default(),
        },
    };
    if desk.output.json {
        return desk.output.json(&deleted);
    }
    desk.output.line(format!("deleted: {} threads, {} runs", deleted.threads, deleted.runs))
}
