//! `cargo xtask lint`: rustfmt, clippy, and the project's own rules.

mod rules;

use std::fmt;

use anyhow::Result;

use crate::cargo;
use crate::source;
use crate::verdict::Verdict;

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.says)
    }
}

/// Every check runs, whatever the one before found.
pub(crate) fn run() -> Result<Verdict> {
    let mut verdict = Verdict::default();
    if !cargo::succeeds(&mut cargo::command(&["fmt", "--all", "--check"]))? {
        verdict.complain("rustfmt: run `cargo fmt --all`");
    }
    verdict.absorb(own_rules()?);
    if !cargo::succeeds(&mut clippy())? {
        verdict.complain("clippy");
    }
    println!("lint: rustfmt, clippy and {} rules; {} failed", rules::ALL.len(), verdict.failed);
    Ok(verdict)
}

fn clippy() -> std::process::Command {
    let mut command = cargo::command(&["clippy", "--quiet", "--workspace", "--all-targets", "--"]);
    command.args(["-D", "warnings", "-D", "clippy::too_many_lines"]);
    command
}

fn own_rules() -> Result<Verdict> {
    let files = source::files()?;
    let mut verdict = Verdict::default();
    for (name, rule) in rules::ALL {
        let findings = rule(&files)?;
        for finding in &findings {
            println!("{finding}");
        }
        if !findings.is_empty() {
            verdict.complain(format!("rule `{name}`: {} places", findings.len()));
        }
    }
    Ok(verdict)
}
