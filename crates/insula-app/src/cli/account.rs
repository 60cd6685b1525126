//! Arguments of the commands about a user's account, and of the operator's.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, builder::PossibleValuesParser};

use crate::island::Named;

/// What is to be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a key that lets its owner in at a server, and print it: this once, and never again.
    #[command(after_help = EXAMPLES)]
    Create(TokenCreateArgs),
    /// Keys, newest first, without what is secret of them.
    List(TokenListArgs),
    /// Make a key worthless.
    Revoke(TokenRevokeArgs),
}

const EXAMPLES: &str = "\
Examples:
  insula token create --name laptop --expires 90d > key
  insula token create --for-user acme/ada --role user
  insula token create --role operator --read-only --name dashboard";

#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// What it is called.
    #[arg(long, default_value = "made on the command line")]
    pub name: String,
    /// What it is good for; several times for several. Otherwise what a user has, or, made at a server for oneself, what the key
    /// has that it is made with.
    #[arg(long = "role", value_name = "ROLE", value_parser = PossibleValuesParser::new(["user", "operator", "admin"]))]
    pub roles: Vec<String>,
    /// It may look, and change nothing.
    #[arg(long)]
    pub read_only: bool,
    /// It is worth nothing after this time, 30d for example.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub expires: Option<Duration>,
    /// For somebody else.
    #[arg(long, value_name = "TENANT/USER", value_parser = named)]
    pub for_user: Option<Named>,
}

/// Somebody else's, or everybody's.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("whose").args(["for_user", "all"]))]
pub(crate) struct WhoseArgs {
    /// Those of somebody else.
    #[arg(long, value_name = "TENANT/USER", value_parser = named)]
    pub for_user: Option<Named>,
    /// Everybody's.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TokenListArgs {
    #[command(flatten)]
    pub whose: WhoseArgs,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// The key's id, as `insula token list` shows it: not the key.
    #[arg(value_name = "KEY_ID")]
    pub id: String,
    /// Also when it is somebody else's.
    #[arg(long)]
    pub all: bool,
}

fn named(text: &str) -> Result<Named, String> {
    let (tenant, user) = text.split_once('/').ok_or("a tenant, / and a user are wanted: acme/ada")?;
    Ok(Named { tenant: tenant.to_owned(), user: user.to_owned() })
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub command: Option<AuditCommand>,
}

/// What is to be done with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// The user's entries, oldest first.
    List(AuditListArgs),
    /// Check that no entry was changed or taken out; exit code 1, and the number of the first that is not right, otherwise.
    Verify {
        /// The logs of everybody, where the database is.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditListArgs {
    /// Only entries behind this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub after: u64,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// The first day, 2026-03-01 for example; 29 days before the last unless said otherwise.
    #[arg(long, value_name = "DAY")]
    pub from: Option<String>,
    /// The last day; today, in UTC, unless said otherwise.
    #[arg(long, value_name = "DAY")]
    pub to: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    pub command: Option<WebhooksCommand>,
}

/// What is to be done with calls.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Calls that tell of the ends of the user's runs, newest first.
    List(WebhooksListArgs),
    /// Make a call again, whatever became of it.
    Resend {
        /// The run that it tells of.
        run: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WebhooksListArgs {
    /// Only those that stand so.
    #[arg(long, value_parser = PossibleValuesParser::new(["waiting", "due", "delivered", "dead"]))]
    pub state: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}
