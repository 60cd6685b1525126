//! Flags of the commands about the queue: what is handed to it, what is stopped, asked and planned.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use insula_engine::ThreadPolicy;

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// The agent's name; `insula agents` lists them.
    pub agent: String,
    /// JSON if it reads as JSON, otherwise a string; `-` reads standard input, `@FILE` a file.
    pub input: Option<String>,
    /// The id of the run instead of a fresh one.
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Not before so much time has passed, 90s or 5m for example.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub delay: Option<Duration>,
    /// A second submission with the same key answers with the first one's run.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    #[command(flatten)]
    pub terms: Terms,
}

/// On what terms a run gets its turn.
#[derive(Debug, Args)]
pub(crate) struct Terms {
    /// In this conversation instead of a new one.
    #[arg(long, value_name = "ID")]
    pub thread: Option<String>,
    /// What it does when another run is under way in the conversation.
    #[arg(long, value_enum, default_value = "enqueue")]
    pub policy: Policy,
    /// Higher ones begin before the user's others.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i16,
    /// Stop the run after this time, its waiting included.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
}

/// What a run does when another is under way in its conversation.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Policy {
    /// Wait for its end.
    Enqueue,
    /// Be refused.
    Reject,
    /// Stop it.
    Interrupt,
    /// Stop it, and say that what it did does not count.
    Rollback,
}

impl From<Policy> for ThreadPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Enqueue => Self::Enqueue,
            Policy::Reject => Self::Reject,
            Policy::Interrupt => Self::Interrupt,
            Policy::Rollback => Self::Rollback,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// How long runs in progress may take to end once the process is asked to stop.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub drain: Duration,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["run", "thread", "agent", "all"]))]
pub(crate) struct CancelArgs {
    /// This run, also if it comes only later.
    #[arg(conflicts_with_all = ["thread", "agent", "all"])]
    pub run: Option<String>,
    /// Every run of this conversation.
    #[arg(long, value_name = "ID")]
    pub thread: Option<String>,
    /// Every run of this agent.
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// Every run of the user.
    #[arg(long, conflicts_with_all = ["thread", "agent"])]
    pub all: bool,
    /// What is written down as the reason.
    #[arg(long, value_name = "TEXT", default_value = "cancelled from the command line")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct InboxArgs {
    /// Only questions of this run.
    pub run: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The run, as `insula inbox` lists it.
    pub run: String,
    /// JSON if it reads as JSON, otherwise a string; `-` reads standard input, `@FILE` a file.
    pub value: String,
    /// Which of its questions; the oldest unless said otherwise.
    #[arg(long, value_name = "N")]
    pub question: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Keep a schedule, in place of the one of this name if there is one.
    #[command(after_help = EXAMPLES)]
    Add(ScheduleAddArgs),
    /// The user's schedules, by name.
    List,
    /// Forget a schedule. Runs that it has begun go on.
    Remove {
        /// Its name.
        name: String,
    },
    /// Keep a schedule without firing it.
    Pause {
        /// Its name.
        name: String,
    },
    /// Fire a paused schedule again, from its next slot on.
    Resume {
        /// Its name.
        name: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  insula schedule add digest \"0 9 * * MON-FRI\" echo salve --zone Europe/Rome
  insula schedule add pulse \"*/30 * * * * *\" echo --missed skip

The fields are minute, hour, day, month and weekday, with seconds before them if wanted.";

#[derive(Debug, Args)]
pub(crate) struct ScheduleAddArgs {
    /// Its name.
    pub name: String,
    /// When, as in a crontab: "0 9 * * MON-FRI".
    pub cron: String,
    /// The agent's name; `insula agents` lists them.
    pub agent: String,
    /// JSON if it reads as JSON, otherwise a string; `-` reads standard input, `@FILE` a file.
    pub input: Option<String>,
    /// By the clock of this time zone.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub zone: String,
    /// What becomes of slots that were missed because nothing worked on the queue.
    #[arg(long, value_enum, default_value = "skip")]
    pub missed: Missed,
    #[command(flatten)]
    pub terms: Terms,
}

/// What becomes of missed slots.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Missed {
    /// They get no run.
    Skip,
    /// One run stands for all of them.
    Once,
    /// Each gets its run.
    All,
}

impl From<Missed> for insula_engine::Missed {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Skip => Self::Skip,
            Missed::Once => Self::Once,
            Missed::All => Self::All,
        }
    }
}
