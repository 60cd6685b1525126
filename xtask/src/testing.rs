//! `cargo xtask test` and `cargo xtask docs`.
//!
//! Everything is built once, with one choice of features, before anything runs: the suites then share that
//! build, and a suite that starts the binary finds one made of the code in front of it.

use std::process::Command;

use anyhow::Result;

use crate::cargo;
use crate::clients;
use crate::needs::{Ground, Selected, Which};
use crate::suites::{self, Place, Suite};
use crate::tools::Tool;
use crate::transcript::{Count, Transcript};
use crate::verdict::Verdict;

pub(crate) fn everything(without: &[Tool]) -> Result<Verdict> {
    let mut verdict = build()?;
    if verdict.failed > 0 {
        return Ok(verdict);
    }
    let mut counts = SuiteCounts::default();
    let ground = Ground::prepare(None, without)?;
    let ran = counts.run(None, &ground)?;
    let left_out: Vec<_> = suites::names().into_iter().filter(|suite| ground.leaves_out(suite)).collect();
    verdict.absorb(ground.end(ran)?);
    verdict.absorb(counts.run_doc_tests()?);
    verdict.absorb(counts.run_clients(without).unwrap_or_else(|error| Verdict::of_error(&error)));
    counts.print();
    // What could not run has been complained of, and what was not wanted is not missed.
    for name in counts.without_a_test().into_iter().filter(|name| !left_out.contains(name)) {
        verdict.complain(format!("suite {name}: no test ran"));
    }
    Ok(verdict)
}

pub(crate) fn one(suite: &Suite, without: &[Tool]) -> Result<Verdict> {
    match suite.place {
        Place::DocTests => return doc_tests(),
        Place::Scripts => return scripts(without),
        _ => {}
    }
    let mut verdict = build()?;
    if verdict.failed > 0 {
        return Ok(verdict);
    }
    let mut counts = SuiteCounts::default();
    let ground = Ground::prepare(Some(suite), without)?;
    let ran = counts.run(Some(suite), &ground)?;
    verdict.absorb(ground.end(ran)?);
    if counts.ran(suite.name) == 0 {
        verdict.complain(format!("suite {}: no test ran", suite.name));
    }
    Ok(verdict)
}

pub(crate) fn docs() -> Result<Verdict> {
    let mut verdict = doc_pages()?;
    verdict.absorb(doc_tests()?);
    Ok(verdict)
}

/// The pages without a warning: a broken link or a missing doc is an error here.
pub(crate) fn doc_pages() -> Result<Verdict> {
    let mut command = cargo::command(&["doc", "--quiet", "--workspace", "--no-deps"]);
    let mut verdict = Verdict::default();
    if !cargo::succeeds(command.env("RUSTDOCFLAGS", "-D warnings"))? {
        verdict.complain("the documentation does not build without a warning");
    }
    Ok(verdict)
}

fn doc_tests() -> Result<Verdict> {
    let mut counts = SuiteCounts::default();
    let mut verdict = counts.run_doc_tests()?;
    if counts.ran("docs") == 0 {
        verdict.complain("suite docs: no test ran");
    }
    Ok(verdict)
}

/// Only the binary is needed here, and building it alone is quicker.
fn scripts(without: &[Tool]) -> Result<Verdict> {
    let mut verdict = build_of(&["--bin", "insula"])?;
    if verdict.failed == 0 {
        verdict.absorb(SuiteCounts::default().run_clients(without)?);
    }
    Ok(verdict)
}

fn build() -> Result<Verdict> {
    build_of(&["--all-targets"])
}

fn build_of(targets: &[&str]) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    if !cargo::succeeds(cargo::command(&["build", "--quiet", "--workspace"]).args(targets))? {
        verdict.complain("the workspace does not build");
    }
    Ok(verdict)
}

/// What ran so far, by suite.
#[derive(Default)]
struct SuiteCounts(Vec<(String, Count)>);

impl SuiteCounts {
    /// Runs one suite, or all but the doc tests.
    fn run(&mut self, suite: Option<&Suite>, ground: &Ground) -> Result<Verdict> {
        let has_nextest = cargo::has_nextest();
        let command = if has_nextest { Some(nextest(suite, ground)) } else { libtest(suite, &ground.left_out) };
        let Some(mut command) = command else {
            return Ok(Verdict::default());
        };
        ground.name_to(&mut command);
        let read = if has_nextest { Transcript::read_nextest } else { Transcript::read_libtest };
        self.hear(&mut command, read, suite)
    }

    fn run_doc_tests(&mut self) -> Result<Verdict> {
        let mut command = cargo::command(&["test", "--workspace", "--doc", "--no-fail-fast"]);
        self.hear(&mut command, Transcript::read_libtest, None)
    }

    fn run_clients(&mut self, without: &[Tool]) -> Result<Verdict> {
        let (verdict, count) = clients::run(without)?;
        self.0.push(("clients".into(), count));
        Ok(verdict)
    }

    fn hear(
        &mut self,
        command: &mut Command,
        read: fn(&mut Transcript, &str),
        suite: Option<&Suite>,
    ) -> Result<Verdict> {
        let mut transcript = Transcript::default();
        let succeeded = cargo::listen(command, |line| {
            read(&mut transcript, line);
            if !line.trim_start().starts_with("SKIP [") {
                println!("{line}");
            }
        })?;
        let verdict = judge(&transcript, succeeded, suite);
        self.0.extend(transcript.by_suite);
        Ok(verdict)
    }

    fn ran(&self, suite: &str) -> u64 {
        let counts = self.0.iter().filter(|(name, _)| name == suite);
        counts.map(|(_, count)| count.passed + count.failed).sum()
    }

    /// Scripts speak for themselves: they may have been left out by request.
    fn without_a_test(&self) -> Vec<&'static str> {
        let counted = suites::SUITES.iter().filter(|suite| suite.place != Place::Scripts);
        counted.map(|suite| suite.name).filter(|name| self.ran(name) == 0).collect()
    }

    fn print(&self) {
        println!("\n{:<12} {:>7} {:>7}", "suite", "passed", "failed");
        for (name, count) in &self.0 {
            println!("{name:<12} {:>7} {:>7}", count.passed, count.failed);
        }
        println!();
    }
}

/// The runner's summary, and a complaint for each way in which it does not tell the whole story.
fn judge(transcript: &Transcript, succeeded: bool, suite: Option<&Suite>) -> Verdict {
    let mut verdict = Verdict::of_tests(transcript.total.passed, transcript.total.failed);
    for (name, count) in &transcript.by_suite {
        if count.ignored > 0 && suite.is_none_or(|suite| suite.name == name) {
            verdict.complain(format!("suite {name}: {} ignored; a test runs or does not exist", count.ignored));
        }
    }
    if !succeeded && verdict.failed == 0 {
        verdict.complain("the test runner failed although no test did");
    }
    verdict
}

fn nextest(suite: Option<&Suite>, ground: &Ground) -> Command {
    let mut command = cargo::command(&["nextest", "run", "--workspace", "--tests", "--no-fail-fast"]);
    // Output of failed tests comes last, so that nothing a test prints can be taken for the runner's words.
    command.args(["--status-level", "all", "--final-status-level", "fail", "--failure-output", "final"]);
    if suite.is_some_and(Suite::prints_what_it_found) {
        command.args(["--success-output", "final"]);
    }
    let chosen = suite.map_or("all()".into(), Suite::nextest_filter);
    let left_out = ground.left_out.iter().map(|it| format!(" & not {}", it.need.nextest_filter()));
    command.args(["-E", &format!("({chosen}){}", left_out.collect::<String>())]);
    command
}

/// `None` when every package of the suite is left out: cargo takes no package for some that it chooses.
fn libtest(suite: Option<&Suite>, left_out: &[Selected]) -> Option<Command> {
    let mut words = match suite {
        Some(suite) => suite.libtest_arguments(),
        None => vec!["--workspace".into(), "--tests".into()],
    };
    leave_out(&mut words, left_out);
    let chooses = words.iter().any(|word| word == "--workspace" || word == "--package");
    let mut command = cargo::command(&["test", "--no-fail-fast"]);
    command.args(words);
    chooses.then_some(command)
}

/// Whole packages before the `--`, single tests by their full names behind it.
fn leave_out(words: &mut Vec<String>, left_out: &[Selected]) {
    let (packages, tests): (Vec<_>, Vec<_>) = left_out.iter().partition(|it| it.need.which == Which::Every);
    for package in packages.iter().map(|it| it.need.package) {
        match words.iter().position(|word| word == package) {
            Some(at) => drop(words.drain(at - 1..=at)),
            None => drop(words.splice(0..0, ["--exclude".into(), package.into()])),
        }
    }
    if !tests.is_empty() && !words.iter().any(|word| word == "--") {
        words.push("--".into());
    }
    words.extend(tests.iter().flat_map(|it| &it.tests).flat_map(|test| ["--skip".into(), test.clone()]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::Need;

    fn left_out(package: &'static str, which: Which, test: &str) -> Selected {
        let need: &'static Need = Box::leak(Box::new(Need { package, which, tools: &[] }));
        Selected { need, tests: vec![test.into()] }
    }

    #[test]
    fn without_nextest_the_same_tests_are_left_out() {
        let package = || left_out("insula-sqlite", Which::Every, "one");
        let test = || left_out("insula-tests", Which::Ending("::postgres"), "queue::claims::postgres");
        let words = |suite: Option<&str>, left_out: &[Selected]| {
            let command = libtest(suite.map(|name| suites::find(name).unwrap()), left_out)?;
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            Some(words[2..].join(" "))
        };
        let everything = "--exclude insula-sqlite --workspace --tests -- --skip queue::claims::postgres";
        assert_eq!(words(None, &[package(), test()]).unwrap(), everything);
        let queue = "--package insula-tests --test it -- queue:: --skip queue::claims::postgres";
        assert_eq!(words(Some("queue"), &[test()]).unwrap(), queue);
        let infra = || left_out("insula-infra", Which::Every, "two");
        let postgres = || left_out("insula-postgres", Which::Every, "three");
        let redis = || left_out("insula-redis", Which::Every, "four");
        let without = [package(), postgres(), redis()];
        assert_eq!(words(Some("conformance"), &without).unwrap(), "--tests --package insula-infra");
        let without = [package(), infra(), postgres(), redis()];
        assert_eq!(words(Some("conformance"), &without), None);
    }

    fn transcript(lines: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        lines.iter().for_each(|line| transcript.read_nextest(line));
        transcript
    }

    #[test]
    fn an_ignored_test_fails_its_suite_and_no_other() {
        let transcript = transcript(&[
            "SKIP [         ] (───) insula-tests::it cost::later",
            "PASS [   0.007s] (1/1) insula-tests::it context::one",
            "Summary [   0.128s] 1 test run: 1 passed, 1 skipped",
        ]);
        let suite = |name| Some(suites::find(name).unwrap());
        assert_eq!(judge(&transcript, true, None).failed, 1);
        assert_eq!(judge(&transcript, true, suite("cost")).failed, 1);
        assert_eq!(judge(&transcript, true, suite("context")).failed, 0);
    }

    #[test]
    fn a_runner_that_fails_without_a_failed_test_is_a_failure() {
        assert_eq!(judge(&Transcript::default(), false, None).failed, 1);
    }

    #[test]
    fn a_suite_that_nobody_wrote_is_named() {
        let mut counts = SuiteCounts::default();
        counts.0.push(("context".into(), Count { passed: 1, ..Count::default() }));
        counts.0.push(("events".into(), Count { ignored: 1, ..Count::default() }));
        let missing = counts.without_a_test();
        assert!(!missing.contains(&"context") && missing.contains(&"events") && missing.contains(&"docs"));
    }
}
