//! Measures what the platform costs. Every figure is taken in one run beside a bare loop that writes the same bytes to
//! the same store with the same acknowledgements, because only the ratio survives a move to other hardware.
#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the wall clock and plays the authenticator")]

mod bare;
mod cold;
mod creation;
mod durability;
mod events;
mod growth;
mod island;
mod measure;
mod parked;
mod report;
mod runs;
mod serve;

use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use insula_engine::AgentThreads;

use crate::report::Report;

/// What to measure. Without a name: everything.
#[derive(Parser)]
struct Args {
    /// creation, runs, events, growth, parked, durability, cold, serve.
    only: Vec<String>,
    /// How long each rate is measured, in milliseconds.
    #[arg(long, default_value_t = 2_000)]
    millis: u64,
    /// Poll agents on the runtime instead of on threads of their own, to see what those cost.
    #[arg(long)]
    on_runtime: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// The binary to start for `cold` and `serve`.
    #[arg(long, default_value = "target/release/insula")]
    insula: std::path::PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let time = Duration::from_millis(args.millis);
    let mut report = Report::new(args.json);
    let threads = |cores| if args.on_runtime { AgentThreads::Runtime } else { AgentThreads::Own(cores) };
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    // First, while no freed memory is there to be used again.
    if wanted("parked") {
        parked::measure(&mut report)?;
    }
    if wanted("creation") {
        creation::measure(&mut report)?;
    }
    if wanted("runs") {
        runs::measure(&mut report, time, threads)?;
    }
    if wanted("events") {
        events::measure(&mut report, time)?;
    }
    if wanted("growth") {
        growth::measure(&mut report)?;
    }
    if wanted("durability") {
        durability::measure(&mut report)?;
    }
    if wanted("cold") {
        cold::measure(&mut report, &args.insula)?;
    }
    if wanted("serve") {
        serve::measure(&mut report, &args.insula, time)?;
    }
    report.finish();
    Ok(())
}
