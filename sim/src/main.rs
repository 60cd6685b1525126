//! `cargo xtask sim`: plays seeds, and says what was seen.
#![expect(clippy::print_stdout, reason = "a command line speaks on stdout")]

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use insula_sim::{
    fault::{Fault, Without},
    mutants::Mutant,
    report::{self, Report, Stop},
    story::{self, Game},
    world::Violation,
};

/// The whole engine in virtual time, from seeds.
#[derive(Parser)]
struct Args {
    /// How many seeds to play.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Plays this seed only, and says everything that happens.
    #[arg(long)]
    seed: Option<u64>,
    /// Plays stores and engines with a mistake instead, and says who finds it.
    #[arg(long)]
    mutants: bool,
    /// Goes on after a failure, and says for each invariant how many seeds broke it.
    #[arg(long)]
    all: bool,
    /// Leaves out faults of these kinds, to see which ones a failure needs.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Fault>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let game = Game { mutant: None, without: Without::these(args.without) };
    match args.seed {
        Some(seed) => replay(&game, seed),
        None if args.mutants => mutants(&game, args.from, args.seeds),
        None => explore(&game, args.from, args.seeds, if args.all { Stop::AtTheEnd } else { Stop::AtAFailure }),
    }
}

fn explore(game: &Game, from: u64, seeds: u64, until: Stop) -> Result<ExitCode> {
    let report = report::explore(game, from, seeds, until)?;
    print!("{report}");
    Ok(verdict(&report))
}

fn verdict(report: &Report) -> ExitCode {
    for (invariant, (count, seed, violation)) in &report.broken {
        println!("\n{count} seeds break first: {invariant}; one is {seed}");
        tell(violation);
    }
    let Some((seed, violations)) = &report.failed else { return ExitCode::SUCCESS };
    println!("\nseed {seed} fails; `cargo xtask sim --seed {seed}` plays it again");
    violations.iter().take(5).for_each(tell);
    ExitCode::FAILURE
}

fn tell(violation: &Violation) {
    println!("  at {} ms: {}: {}", violation.at_millis, violation.invariant, violation.detail);
}

fn replay(game: &Game, seed: u64) -> Result<ExitCode> {
    report::quiet_panics();
    let told = story::play(game, seed, Some(Vec::new()))?;
    told.seen.lines.iter().flatten().for_each(|line| println!("{line}"));
    println!("\nseed {seed}: {} runs, trace {:016x}", told.runs, told.trace);
    told.seen.violations.iter().for_each(tell);
    Ok(if told.seen.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mutants(game: &Game, from: u64, seeds: u64) -> Result<ExitCode> {
    let mut all_found = true;
    for mutant in Mutant::ALL {
        let found = report::find(mutant, game, from, seeds)?;
        all_found &= found.is_some();
        match found {
            Some((seed, violation)) => {
                println!("{mutant:?}: seed {seed}: {}: {}", violation.invariant, violation.detail)
            }
            None => println!("{mutant:?}: not found in {seeds} seeds"),
        }
    }
    Ok(if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
