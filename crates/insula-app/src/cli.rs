//! The command line.

mod account;
mod archive;
mod queue;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::account::{
    AuditArgs, AuditCommand, AuditListArgs, TokenCommand, TokenCreateArgs, TokenListArgs, TokenRevokeArgs, UsageArgs,
    WebhooksArgs, WebhooksCommand, WebhooksListArgs, WhoseArgs,
};
pub(crate) use self::archive::{
    DeleteCommand, ExportArgs, ForkArgs, ImportArgs, ReplayArgs, RetryArgs, ThreadsArgs, ThreadsCommand,
};
use crate::exit::CODES;
pub(crate) use queue::{AnswerArgs, CancelArgs, InboxArgs, ScheduleAddArgs, ScheduleCommand, SubmitArgs, WorkArgs};

/// Runs many users' AI agents on shared infrastructure, each as if the machine were theirs.
#[derive(Debug, Parser)]
#[command(name = "insula", version, after_help = CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub settings: SettingFlags,
    /// Print one JSON object, or one per line, and nothing else on standard output.
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that are settings: the last of the four sources.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingFlags {
    /// The configuration file; insula.toml in the working directory unless said otherwise.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is stored.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// The database: a file, or a `postgres://` address, or `@FILE` with one; insula.db in the data folder unless said
    /// otherwise.
    #[arg(long, global = true, value_name = "FILE|URL")]
    pub database: Option<String>,
    /// On whose behalf.
    #[arg(long, global = true, value_name = "USER")]
    pub user: Option<String>,
    /// The tenant of the user.
    #[arg(long, global = true, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// Have it done by this server instead of here; `none` for here.
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// What that server lets you in with; `@FILE` reads it from a file, which the list of processes does not show.
    #[arg(long, global = true, value_name = "KEY|@FILE")]
    pub key: Option<String>,
    /// Any setting, as in `--set limits.running=4`; `insula config` lists them.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Five users at once on shared infrastructure, each with their own data and report; checks that nobody met anybody.
    Demo(DemoArgs),
    /// Run an agent, watch it, and print its result.
    Run(RunArgs),
    /// The agents that can be run; with a name, everything about one.
    Agents {
        /// Show this one in full.
        name: Option<String>,
    },
    /// The user's runs, newest first.
    Runs(RunsArgs),
    /// The events of a run and of its children.
    Tail(TailArgs),
    /// Write a run and its children as lines of JSON.
    Export(ExportArgs),
    /// Take a run from a file that `insula export` wrote.
    Import(ImportArgs),
    /// Execute a run again against its record, and show the first difference; exit code 1 when there is one.
    Replay(ReplayArgs),
    /// Run a run's agent again, with the same input in the same conversation.
    Retry(RetryArgs),
    /// Make a conversation that begins like another.
    Fork(ForkArgs),
    /// The user's conversations, newest first; `threads show` reads one.
    Threads(ThreadsArgs),
    /// Delete a conversation, or everything of the user.
    #[command(subcommand)]
    Delete(DeleteCommand),
    /// Hand a run to the queue, where whoever works on it picks it up.
    Submit(SubmitArgs),
    /// Work on the queue, on everybody's runs and schedules, until stopped.
    Work(WorkArgs),
    /// Serve the API, the socket and the console, and work on the queue, until stopped.
    Serve(ServeArgs),
    /// Stop a run, or all of a conversation or agent, wherever they are.
    Cancel(CancelArgs),
    /// Questions that the user's runs have asked and nobody has answered.
    Inbox(InboxArgs),
    /// Answer a question of a run.
    Answer(AnswerArgs),
    /// Runs that begin by the calendar.
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Keys that let their owners in at a server.
    #[command(subcommand)]
    Token(TokenCommand),
    /// What was written down of who was let in, what was given and taken away; `audit verify` checks it.
    Audit(AuditArgs),
    /// What the user has used, by day and agent.
    Usage(UsageArgs),
    /// Calls that tell of the ends of the user's runs; `webhooks resend` makes one again.
    Webhooks(WebhooksArgs),
    /// Counts and health of all users together, for operators.
    Overview,
    /// The processes that work on the queue, for operators.
    Nodes,
    /// Check configuration, storage, disk, clock and agents, or a server, and say what to do.
    Doctor,
    /// Every setting, and where its value came from.
    Config,
    /// Bring the database up to date.
    Migrate {
        /// Only say whether it is; exit code 1 when it is not.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Rows of each user's data file.
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub rows: u32,
    /// Keep database and reports in this folder, which must be new or empty. Otherwise they are deleted at the end.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The agent's name; `insula agents` lists them.
    pub agent: String,
    /// JSON if it reads as JSON, otherwise a string; `-` reads standard input, `@FILE` a file.
    pub input: Option<String>,
    /// Run in this conversation instead of a new one.
    #[arg(long, value_name = "ID")]
    pub thread: Option<String>,
    /// The id of the run instead of a fresh one.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Stop the run after this time, 90s or 5m for example.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The address to listen on, as serve.listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// Only runs with this status.
    #[arg(long, value_enum)]
    pub status: Option<Status>,
    /// Only runs of this conversation.
    #[arg(long, value_name = "ID")]
    pub thread: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// The run, as `insula runs` lists it.
    pub run: String,
    /// Wait for more until the run ends.
    #[arg(long, short)]
    pub follow: bool,
    /// Only events behind this number.
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    pub after: u64,
}

/// A run's status, as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Status {
    Queued,
    Running,
    Waiting,
    Completed,
    Failed,
    Cancelled,
}

impl From<Status> for insula_infra::RunStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Queued => Self::Queued,
            Status::Running => Self::Running,
            Status::Waiting => Self::Waiting,
            Status::Completed => Self::Completed,
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        super::Cli::command().debug_assert();
    }
}
