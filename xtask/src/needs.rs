//! Which tests need a server, and what becomes of them where there is none.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::cargo;
use crate::services::{self, Outcome, Services};
use crate::suites::{self, PROMISES, Suite};
use crate::tools::{self, Tool};
use crate::verdict::Verdict;
use crate::workspace;

/// Tests of one package, and the servers they run against.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) package: &'static str,
    pub(crate) which: Which,
    pub(crate) tools: &'static [Tool],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Every,
    /// Below a module.
    Under(&'static str),
    /// The same promise is tried on several backends, and the last part of the name says on which.
    Ending(&'static str),
}
use Which::{Ending, Every, Under};

/// A row for a package that is not in the workspace holds for nothing, and stands ready.
const NEEDS: &[Need] = &[
    Need { package: "insula-postgres", which: Every, tools: &[Tool::Postgres] },
    Need { package: "insula-redis", which: Every, tools: &[Tool::Redis] },
    Need { package: "insula-test-services", which: Every, tools: &[Tool::Postgres, Tool::Redis] },
    Need { package: PROMISES, which: Ending("::postgres"), tools: &[Tool::Postgres] },
    Need { package: PROMISES, which: Under("cli::nodes::"), tools: &[Tool::Postgres, Tool::Redis] },
];

impl Need {
    fn covers(&self, test: &str) -> bool {
        match self.which {
            Every => true,
            Under(module) => test.starts_with(module),
            Ending(end) => test.ends_with(end),
        }
    }

    /// In nextest's own language.
    pub(crate) fn nextest_filter(&self) -> String {
        let package = self.package;
        match self.which {
            Every => format!("package(={package})"),
            Under(module) => format!("(package(={package}) & test(/^{module}/))"),
            Ending(end) => format!("(package(={package}) & test(/{end}$/))"),
        }
    }

    fn needs_any(&self, tools: &[Tool]) -> bool {
        self.tools.iter().any(|tool| tools.contains(tool))
    }
}

/// Tests that are about to run and need a server, by their full names.
#[derive(Debug)]
pub(crate) struct Selected {
    pub(crate) need: &'static Need,
    pub(crate) tests: Vec<String>,
}

/// What the tests of a run stand on.
#[derive(Debug)]
pub(crate) struct Ground {
    services: Services,
    /// These do not run: their server was not wanted, or could not be had.
    pub(crate) left_out: Vec<Selected>,
    verdict: Verdict,
}

impl Ground {
    /// Finds out which tests of the suite, or of all, need what, and starts that.
    pub(crate) fn prepare(suite: Option<&Suite>, without: &[Tool]) -> Result<Self> {
        let selected = select(suite)?;
        let (left_out, wanted): (Vec<_>, Vec<_>) = selected.into_iter().partition(|it| it.need.needs_any(without));
        report(&left_out, "as asked for");
        let to_find: Vec<Tool> =
            tools_of(&wanted).into_iter().filter(|tool| services::named(*tool).is_none()).collect();
        let missing = tools::missing(&to_find)?;
        let (lacking, wanted): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|it| it.need.needs_any(&missing));
        report(&lacking, "it cannot be found, and cannot be installed from here");
        let verdict = complaint(&lacking, &missing);
        let services = Services::find(&tools_of(&wanted))?;
        Ok(Self { services, left_out: left_out.into_iter().chain(lacking).collect(), verdict })
    }

    pub(crate) fn name_to(&self, command: &mut Command) {
        self.services.name_to(command);
    }

    /// Whether tests of this suite were left out.
    pub(crate) fn leaves_out(&self, suite: &str) -> bool {
        self.left_out.iter().any(|it| it.tests.iter().any(|test| suites::of(it.need.package, test) == suite))
    }

    /// Ends the servers; what could not run is added to what ran. An error when Ctrl-C ended the run.
    pub(crate) fn end(self, ran: Verdict) -> Result<Verdict> {
        let outcome = if ran.failed == 0 { Outcome::Well } else { Outcome::Badly };
        let mut verdict = ran;
        verdict.absorb(self.verdict);
        if let Err(error) = self.services.end(outcome) {
            verdict.complain(format!("{error:#}"));
        }
        ensure!(!services::was_interrupted(), "interrupted");
        Ok(verdict)
    }
}

fn report(left_out: &[Selected], why: &str) {
    for Selected { need, tests } in left_out {
        let (package, count) = (need.package, tests.len());
        let part = match need.which {
            Every => String::new(),
            Under(part) | Ending(part) => format!(" …{part}…"),
        };
        println!("not run: {package}{part} ({count} tests) needs {}: {why}", tools::names(need.tools));
    }
}

fn complaint(lacking: &[Selected], missing: &[Tool]) -> Verdict {
    let mut verdict = Verdict::default();
    if !lacking.is_empty() {
        let count: usize = lacking.iter().map(|it| it.tests.len()).sum();
        let names: Vec<&str> = missing.iter().map(|tool| tool.name()).collect();
        let (list, flag) = (names.join(" and "), names.join(","));
        verdict.complain(format!("{count} tests were not run: install {list}, or ask for --without {flag}"));
    }
    verdict
}

fn tools_of(selected: &[Selected]) -> Vec<Tool> {
    let needed = |tool: &Tool| selected.iter().any(|it| it.need.tools.contains(tool));
    Tool::SERVICES.into_iter().filter(needed).collect()
}

fn select(suite: Option<&Suite>) -> Result<Vec<Selected>> {
    let packages = workspace::packages()?;
    let present = |need: &&Need| packages.iter().any(|package| package.name == need.package);
    let mut selected = Vec::new();
    for need in NEEDS.iter().filter(present) {
        let mut tests = tests_of(need)?;
        tests.retain(|test| suite.is_none_or(|suite| suites::of(need.package, test) == suite.name));
        if !tests.is_empty() {
            selected.push(Selected { need, tests });
        }
    }
    Ok(selected)
}

fn tests_of(need: &Need) -> Result<Vec<String>> {
    let mut tests = if cargo::has_nextest() { nextest_list(need)? } else { libtest_list(need.package)? };
    tests.retain(|test| need.covers(test));
    Ok(tests)
}

fn nextest_list(need: &Need) -> Result<Vec<String>> {
    // Of the whole workspace, as it was built: of one package alone it would be built again.
    let words = ["nextest", "list", "--workspace", "--tests", "--message-format", "json", "-E"];
    let output = cargo::command(&words).arg(need.nextest_filter()).output()?;
    ensure!(output.status.success(), "nextest list: {}", String::from_utf8_lossy(&output.stderr));
    Ok(matching(&serde_json::from_slice(&output.stdout)?))
}

fn matching(list: &Value) -> Vec<String> {
    let binaries = list["rust-suites"].as_object().into_iter().flat_map(|binaries| binaries.values());
    let tests = binaries.filter_map(|binary| binary["testcases"].as_object()).flatten();
    tests.filter(|(_, test)| test["filter-match"]["status"] == "matches").map(|(name, _)| name.clone()).collect()
}

fn libtest_list(package: &str) -> Result<Vec<String>> {
    let words = ["test", "--quiet", "--tests", "--package", package, "--", "--list"];
    let output = cargo::command(&words).output()?;
    ensure!(output.status.success(), "cargo test --list: {}", String::from_utf8_lossy(&output.stderr));
    Ok(listed(&String::from_utf8_lossy(&output.stdout)))
}

fn listed(output: &str) -> Vec<String> {
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn needing(package: &str, test: &str) -> Vec<Tool> {
        let rows = NEEDS.iter().filter(|need| need.package == package && need.covers(test));
        let selected: Vec<_> = rows.map(|need| Selected { need, tests: vec![test.into()] }).collect();
        tools_of(&selected)
    }

    #[test]
    fn what_a_test_needs_is_in_its_name() {
        assert_eq!(needing(PROMISES, "durability::killed::postgres"), [Tool::Postgres]);
        assert_eq!(needing(PROMISES, "cli::nodes::a_killed_node"), Tool::SERVICES);
        assert_eq!(needing("insula-redis", "cache::anything"), [Tool::Redis]);
        for needs_nothing in ["durability::killed::postgres_like", "cli::running::one", "cli::nodes_of_a_tree::one"] {
            assert_eq!(needing(PROMISES, needs_nothing), []);
        }
        assert_eq!(needing("insula-engine", "machine::postgres"), []);
    }

    #[test]
    fn nextest_is_asked_for_the_same() {
        let asked = |package, which| Need { package, which, tools: &[] }.nextest_filter();
        assert_eq!(asked("p", Every), "package(=p)");
        assert_eq!(asked("p", Under("a::b::")), "(package(=p) & test(/^a::b::/))");
        assert_eq!(asked("p", Ending("::c")), "(package(=p) & test(/::c$/))");
    }

    #[test]
    fn both_runners_lists_are_read() {
        let list = json!({"rust-suites": {"p::kit": {"testcases": {
            "one": {"ignored": false, "filter-match": {"status": "matches"}},
            "two": {"ignored": false, "filter-match": {"status": "mismatch", "reason": "expression"}},
        }}}});
        assert_eq!(matching(&list), ["one"]);
        assert_eq!(listed("one: test\nb: benchmark\n\n1 test, 1 benchmark\n"), ["one"]);
    }

    #[test]
    fn tests_that_could_not_run_fail_the_command() {
        let lacking = Selected { need: &NEEDS[2], tests: vec!["one".into(), "two".into()] };
        assert_eq!(complaint(&[], &[]).failed, 0);
        let verdict = complaint(&[lacking], &[Tool::Redis]);
        assert_eq!(verdict.failed, 1);
        assert!(format!("{verdict:?}").contains("2 tests were not run: install redis, or ask for --without redis"));
    }
}
