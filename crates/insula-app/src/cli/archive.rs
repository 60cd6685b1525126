//! Arguments of the commands that keep, repeat, branch off and delete.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The run, as `insula runs` lists it. Its children come along.
    pub run: String,
    /// Also what only the engine sees: secrets as they were, and causes. An exact replay needs it.
    #[arg(long)]
    pub whole: bool,
    /// The file, which must not exist; standard output otherwise.
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file that `insula export` wrote; `-` reads standard input.
    pub file: PathBuf,
    /// Into this conversation instead of a new one.
    #[arg(long, value_name = "ID")]
    pub thread: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A run, or a file that `insula export` wrote.
    #[arg(value_name = "FILE|RUN")]
    pub what: String,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// The run, as `insula runs` lists it.
    pub run: String,
}

#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// The conversation.
    pub thread: String,
    /// The last event that both have.
    pub seq: u64,
    /// The id of the new conversation instead of a fresh one.
    #[arg(long, value_name = "ID")]
    pub into: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ThreadsArgs {
    #[command(subcommand)]
    pub command: Option<ThreadsCommand>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ThreadsCommand {
    /// The events of one conversation.
    Show {
        /// The conversation.
        thread: String,
        /// Only events behind this number.
        #[arg(long, value_name = "SEQ", default_value_t = 0)]
        after: u64,
    },
}

/// What is to be deleted.
#[derive(Debug, Subcommand)]
pub(crate) enum DeleteCommand {
    /// A conversation with everything in it.
    Thread {
        /// The conversation.
        thread: String,
    },
    /// Everything of the user: conversations, state, schedules, cache, and the user's own database.
    User {
        /// Really.
        #[arg(long)]
        yes: bool,
    },
}
