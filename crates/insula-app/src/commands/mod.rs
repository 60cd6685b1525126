//! The commands, one module each.

mod agents;
mod answer;
mod archive;
mod audit;
mod cancel;
mod config;
mod demo;
mod doctor;
mod inbox;
mod keeping;
mod migrate;
mod nodes;
mod overview;
mod run;
mod runs;
mod schedule;
mod serve;
mod submit;
mod tail;
mod token;
mod usage;
mod webhooks;
mod work;

use insula_context::{RunId, ThreadId};

use crate::{
    cli::{Cli, Command},
    config::Settings,
    environment::Environment,
    exit::{Kind, Stop},
    island::{self, Island},
    logging,
    output::Output,
};

/// What every command stands on.
pub(crate) struct Desk<'a> {
    pub output: &'a Output,
    pub settings: Settings,
}

impl Desk<'_> {
    /// Where commands are done.
    fn island(&self) -> Result<Box<dyn Island>, Stop> {
        island::of(&self.settings)
    }
}

/// There is no such run, or it is somebody else's.
async fn no_run(island: &dyn Island, run: &RunId) -> Stop {
    Stop::new(Kind::NotFound, format!("{} has no run {run}", island.owner().await))
        .advise(format!("`insula runs` lists them; {}", island.words().whose))
}

/// There is no such conversation, or it is somebody else's.
async fn no_thread(island: &dyn Island, thread: &ThreadId) -> Stop {
    Stop::new(Kind::NotFound, format!("{} has no thread {thread}", island.owner().await))
        .advise(format!("`insula threads` lists them; {}", island.words().whose))
}

/// Refuses what makes no sense while a server is named, or while none is.
fn elsewhere(command: &Command, settings: &Settings) -> Result<(), Stop> {
    let origin = |key: &str| settings.origin(key);
    let is_flag = |key: &&str| origin(key).starts_with("flag");
    if settings.server.is_none() {
        let is_for_nobody = is_flag(&"key") && !matches!(command, Command::Config);
        let stop = Stop::usage(format!("{} lets nobody in where no server is named", origin("key")))
            .advise("name one with --server; what makes one run of two submissions is --idempotency-key");
        return if is_for_nobody { Err(stop) } else { Ok(()) };
    }
    let here = match command {
        Command::Demo(_) => Some("demo"),
        Command::Work(_) => Some("work"),
        Command::Serve(_) => Some("serve"),
        Command::Migrate { .. } => Some("migrate"),
        // What the settings come to is to be seen, wherever a server is named in them.
        Command::Config => Some("config").filter(|_| is_flag(&"server")),
        _ => None,
    };
    if let Some(name) = here {
        let message = format!("`insula {name}` is done on this machine, and a server is named ({})", origin("server"));
        return Err(Stop::usage(message).advise("leave the server out; `--server none` does, wherever it is named"));
    }
    match ["user", "tenant", "data_dir", "database"].iter().find(|key| is_flag(key)) {
        Some(key) => Err(Stop::usage(format!("{} says nothing to a server ({})", origin(key), origin("server")))
            .advise("the key says whose things they are, and the server where; `--server none` means this machine")),
        None => Ok(()),
    }
}

/// Does what was asked for.
///
/// # Errors
/// Whatever ends the command without success.
pub(crate) async fn dispatch(cli: Cli, environment: &Environment, output: &Output) -> Result<(), Stop> {
    let settings = match (Settings::load(&cli.settings, environment), &cli.command) {
        (Ok(settings), _) => settings,
        // The doctor is there for what does not work.
        (Err(stop), Command::Doctor) => return doctor::without_settings(&stop, output),
        (Err(stop), _) => return Err(stop),
    };
    elsewhere(&cli.command, &settings)?;
    let _sends_until_the_end = logging::start(&settings, output)?;
    let desk = Desk { output, settings };
    match cli.command {
        Command::Demo(args) => Box::pin(demo::demo(&desk, args)).await,
        Command::Run(args) => Box::pin(run::run(&desk, args)).await,
        Command::Agents { name } => agents::agents(&desk, name.as_deref()).await,
        Command::Runs(args) => runs::runs(&desk, args).await,
        Command::Tail(args) => tail::tail(&desk, args).await,
        Command::Export(args) => archive::export(&desk, args).await,
        Command::Import(args) => archive::import(&desk, args).await,
        Command::Replay(args) => archive::replay(&desk, args).await,
        Command::Retry(args) => Box::pin(keeping::retry(&desk, args)).await,
        Command::Fork(args) => keeping::fork(&desk, args).await,
        Command::Threads(args) => keeping::threads(&desk, args).await,
        Command::Delete(command) => keeping::delete(&desk, command).await,
        Command::Submit(args) => submit::submit(&desk, args).await,
        Command::Serve(args) => Box::pin(serve::serve(&desk, args)).await,
        Command::Work(args) => work::work(&desk, args).await,
        Command::Cancel(args) => cancel::cancel(&desk, args).await,
        Command::Inbox(args) => inbox::inbox(&desk, args).await,
        Command::Answer(args) => answer::answer(&desk, args).await,
        Command::Schedule(command) => schedule::schedule(&desk, command).await,
        Command::Token(command) => token::token(&desk, command).await,
        Command::Audit(args) => audit::audit(&desk, args.command).await,
        Command::Usage(args) => usage::usage(&desk, args).await,
        Command::Webhooks(args) => webhooks::webhooks(&desk, args.command).await,
        Command::Overview => overview::overview(&desk).await,
        Command::Nodes => nodes::nodes(&desk).await,
        Command::Doctor => doctor::doctor(&desk).await,
        Command::Config => config::config(&desk),
        Command::Migrate { check } => migrate::migrate(&desk, check).await,
    }
}
