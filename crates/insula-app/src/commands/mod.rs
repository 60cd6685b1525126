//! The commands, one module each.

mod agents;
mod archive;
mod config;
mod demo;
mod doctor;
mod keeping;
mod migrate;
mod run;
mod runs;
mod tail;

use crate::{
    cli::{Cli, Command},
    config::Settings,
    environment::Environment,
    exit::Stop,
    logging,
    output::Output,
};

/// What every command stands on.
pub(crate) struct Desk<'a> {
    pub output: &'a Output,
    pub settings: Settings,
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
    logging::start(&settings.log, output)?;
    let desk = Desk { output, settings };
    match cli.command {
        Command::Demo(args) => Box::pin(demo::demo(&desk, args)).await,
        Command::Run(args) => Box::pin(run::run(&desk, args)).await,
        Command::Agents { name } => agents::agents(&desk, name.as_deref()),
        Command::Runs(args) => runs::runs(&desk, args).await,
        Command::Tail(args) => tail::tail(&desk, args).await,
        Command::Export(args) => archive::export(&desk, args).await,
        Command::Import(args) => archive::import(&desk, args).await,
        Command::Replay(args) => archive::replay(&desk, args).await,
        Command::Retry(args) => Box::pin(keeping::retry(&desk, args)).await,
        Command::Fork(args) => keeping::fork(&desk, args).await,
        Command::Threads(args) => keeping::threads(&desk, args).await,
        Command::Delete(command) => keeping::delete(&desk, command).await,
        Command::Doctor => doctor::doctor(&desk).await,
        Command::Config => config::config(&desk),
        Command::Migrate { check } => migrate::migrate(&desk, check),
    }
}
