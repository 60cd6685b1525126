//! The project's own commands, called as `cargo xtask COMMAND`.
//!
//! Modules in reading order: [`suites`] names the test suites, [`transcript`] reads what a test runner printed,
//! [`testing`] runs tests and docs, [`clients`] the programs of others and [`tools`] what they need, [`services`] the servers that tests run against and [`needs`] which tests those are, [`layers`] says which crate may use which, [`lint`] holds the style rules
//! that rustc and clippy do not know, [`verdict`] is how every command ends.

#![expect(clippy::print_stdout, reason = "a command line speaks on stdout")]

mod cargo;
mod clients;
mod fuzz;
mod layers;
mod lint;
mod needs;
mod services;
mod source;
mod suites;
mod testing;
mod tools;
mod transcript;
mod verdict;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::verdict::Verdict;

const USAGE: &str = "\
cargo xtask COMMAND

  test          everything: unit, conformance and integration tests, doc tests, layers
  test SUITE    one suite by name (an unknown name lists them); both take --without
                python,node,chromium,curl,postgres,redis
  services up   Postgres and Redis for tests until Ctrl-C: --without redis, --ports 55432,56379, --durable
  lint          rustfmt, clippy, and the project's own rules
  docs          the documentation without a warning, and its examples
  layers        the table of crates and what each may use, checked
  sim [ARGS]    the whole engine in virtual time: --seeds N, --seed N to play one again, --mutants, --all
  bench [ARGS]  the benchmarks, in release; arguments are passed on
  fuzz [TARGET] random bytes for the parsers of what comes from outside, each for 20 s
  ci            lint, docs and test, as continuous integration runs them";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let verdict = dispatch(&words).unwrap_or_else(|error| Verdict::of_error(&error));
    let counts_tests = matches!(words.first(), Some(&("test" | "docs" | "ci")));
    verdict.print(counts_tests);
    verdict.exit_code()
}

fn dispatch(words: &[&str]) -> Result<Verdict> {
    match words {
        ["test"] => testing::everything(&[]),
        ["test", "--without", tools] => testing::everything(&tools::parse(tools)?),
        ["test", suite] => testing::one(suites::find(suite)?, &[]),
        ["test", suite, "--without", tools] => testing::one(suites::find(suite)?, &tools::parse(tools)?),
        ["services", "up", words @ ..] => services::up(words),
        ["lint"] => lint::run(),
        ["docs"] => testing::docs(),
        ["layers"] => layers::run(),
        ["bench", arguments @ ..] => bench(arguments),
        ["sim", arguments @ ..] => sim(arguments),
        ["fuzz", arguments @ ..] => fuzz::run(arguments),
        ["ci"] => ci(),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(Verdict::default())
        }
        _ => bail!("`{}` is not a command\n\n{USAGE}", words.join(" ")),
    }
}

/// Slowest last, so that a wrong format is known within seconds; each part runs whatever the others found.
fn ci() -> Result<Verdict> {
    let mut verdict = Verdict::default();
    for part in [lint::run, testing::doc_pages, || testing::everything(&[])] {
        verdict.absorb(part().unwrap_or_else(|error| Verdict::of_error(&error)));
    }
    Ok(verdict)
}

/// Not optimised: a thousand seeds take less time than building everything once more.
fn sim(arguments: &[&str]) -> Result<Verdict> {
    let mut command = cargo::command(&["run", "--quiet", "--package", "insula-sim", "--"]);
    command.args(arguments);
    let mut verdict = Verdict::default();
    if !cargo::succeeds(&mut command)? {
        verdict.complain("the simulation found something");
    }
    Ok(verdict)
}

fn bench(arguments: &[&str]) -> Result<Verdict> {
    let mut command = cargo::command(&["run", "--release", "--package", "insula-benches", "--"]);
    command.args(arguments);
    let mut verdict = Verdict::default();
    if !cargo::succeeds(&mut command)? {
        verdict.complain("the benchmarks failed");
    }
    Ok(verdict)
}
