//! `insula retry`, `fork`, `threads`, `delete`.

use futures::TryStreamExt;
use insula_context::{RunId, ThreadId};
use serde::Deserialize;

use super::{Desk, no_run, no_thread, run, tail};
use crate::{
    cli::{DeleteCommand, ForkArgs, RetryArgs, ThreadsArgs, ThreadsCommand},
    exit::{Kind, Stop},
    island::Conversation,
    table::Columns,
};

/// Runs a run's agent again, with the same input in the same thread, as `insula run` does.
pub(super) async fn retry(desk: &Desk<'_>, args: RetryArgs) -> Result<(), Stop> {
    let (island, run) = (desk.island()?, RunId::new(&args.run)?);
    match island.again(&run).await? {
        Some(wish) => run::wished(desk, wish).await,
        None => Err(no_run(&*island, &run).await),
    }
}

/// Makes a conversation that begins like another.
pub(super) async fn fork(desk: &Desk<'_>, args: ForkArgs) -> Result<(), Stop> {
    let (island, thread) = (desk.island()?, ThreadId::new(&args.thread)?);
    let into = args.into.map(ThreadId::new).transpose()?;
    let Some(fork) = island.fork(&thread, args.seq, into).await? else {
        let message = format!("{} has no thread {thread} with {} events", island.owner().await, args.seq);
        return Err(Stop::new(Kind::NotFound, message));
    };
    if desk.output.json {
        return desk.output.json(&fork);
    }
    desk.output.line(fork.read::<Conversation>()?.thread_id)?;
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

async fn list(desk: &Desk<'_>, most: usize) -> Result<(), Stop> {
    let island = desk.island()?;
    let page = island.threads(most).await?;
    if desk.output.json {
        return desk.output.json(&page);
    }
    if page.items.is_empty() {
        let owner = island.owner().await;
        desk.output.note(format!("no threads of {owner} here yet; `insula run echo salve` makes one"));
        return Ok(());
    }
    let mut columns = Columns::new(desk.output, &["thread", "began", "events>", "forked from"]);
    for thread in &page.items {
        columns.row(row(desk, thread.read()?));
    }
    columns.lines().into_iter().try_for_each(|line| desk.output.line(line))?;
    if page.next.is_some() {
        desk.output.note("there are more: raise --limit");
    }
    Ok(())
}

fn row(desk: &Desk<'_>, thread: Conversation) -> [String; 4] {
    let fork = thread.forked_from.map(|fork| format!("{} at {}", fork.thread_id, fork.seq));
    let began = desk.output.date(thread.created_at);
    [thread.thread_id, began, thread.head.to_string(), fork.unwrap_or_else(|| "-".to_owned())]
}

async fn show(desk: &Desk<'_>, thread: &ThreadId, after: u64) -> Result<(), Stop> {
    let island = desk.island()?;
    let Some(mut telling) = island.thread_events(thread, after).await? else {
        return Err(no_thread(&*island, thread).await);
    };
    while let Some(told) = telling.try_next().await? {
        tail::print(desk.output, told, after, |_| true)?;
    }
    Ok(())
}

/// Deletes a conversation, or all of a user.
pub(super) async fn delete(desk: &Desk<'_>, command: DeleteCommand) -> Result<(), Stop> {
    #[derive(Deserialize)]
    struct Deleted {
        threads: u64,
        runs: u64,
    }
    let island = desk.island()?;
    let said = match command {
        DeleteCommand::Thread { thread } => {
            let thread = ThreadId::new(thread)?;
            let Some(said) = island.delete_thread(&thread).await? else {
                return Err(no_thread(&*island, &thread).await);
            };
            said
        }
        DeleteCommand::User { yes: false } => {
            let owner = island.owner().await;
            return Err(Stop::usage(format!("everything of {owner} would be deleted, and nothing brings it back"))
                .advise("say --yes if that is meant"));
        }
        DeleteCommand::User { yes: true } => island.delete_user().await?,
    };
    if desk.output.json {
        return desk.output.json(&said);
    }
    let Deleted { threads, runs } = said.read()?;
    desk.output.line(format!("deleted: {threads} threads, {runs} runs"))
}
