//! The binary `insula`: many users' agents on shared infrastructure, from a command line.
//!
//! It is the only place that reads the environment, that decides who the caller is, and that wires engine, storage and
//! agents together. Everything that it shows of a run it reads from the run's log.
//!
//! In reading order: `cli` (the command line), `environment` and `config` (what is set, and where), `exit` (how a command
//! ends), `output` and `table` (the only ways to print), `identity`, `catalog` and `wiring` (who, what, on what), `island`
//! (here or on a server), `view` (how a run looks while it lives), `commands`.

mod board;
mod catalog;
mod cli;
mod commands;
mod config;
mod environment;
mod exit;
mod identity;
mod input;
mod interrupt;
mod island;
mod logging;
mod output;
mod refund;
#[cfg(test)]
mod samples;
mod table;
mod telemetry;
mod view;
mod wiring;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::{cli::Cli, environment::Environment, exit::Stop, output::Output};

fn main() -> ExitCode {
    // While there is one thread: the offset of the local time cannot be asked for safely later.
    let offset = time::UtcOffset::current_local_offset().unwrap_or(time::UtcOffset::UTC);
    let cli = Cli::parse();
    let environment = Environment::read();
    let output = Output::new(cli.json, offset, &environment);
    let ended = start(cli, &environment, &output);
    exit::code(ended, &output)
}

fn start(cli: Cli, environment: &Environment, output: &Output) -> Result<(), Stop> {
    // Two threads are enough to wait on; agents have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Stop::failed(format!("no runtime could be started: {error}")))?;
    let ended = runtime.block_on(commands::dispatch(cli, environment, output));
    // An agent that does not let itself be stopped must not keep the process alive.
    runtime.shutdown_background();
    ended
}
