//! `cargo xtask fuzz`: random bytes for every parser of what comes from outside, each for a while. Not part of `test`: it needs
//! a build of its own, and the longer it runs the more it is worth.

use std::process::Command;

use anyhow::{Result, bail};

use crate::cargo;
use crate::verdict::Verdict;

/// How long each parser is tried unless told otherwise, in seconds.
const SECONDS: &str = "20";

pub(crate) fn run(arguments: &[&str]) -> Result<Verdict> {
    let (seconds, wanted) = match arguments {
        [] => (SECONDS, None),
        [target] => (SECONDS, Some(*target)),
        [target, seconds] => (*seconds, Some(*target)),
        _ => bail!("cargo xtask fuzz [TARGET [SECONDS]]"),
    };
    if !cargo::succeeds(&mut cargo::command(&["fuzz", "--version"]))? {
        println!("cargo-fuzz is missing: installing it with cargo");
        if !cargo::succeeds(&mut cargo::command(&["install", "--quiet", "--locked", "cargo-fuzz"]))? {
            bail!("cargo-fuzz could not be installed");
        }
    }
    let targets = targets()?;
    if wanted.is_some_and(|wanted| !targets.iter().any(|target| target == wanted)) {
        bail!("there is no such target; there are: {}", targets.join(", "));
    }
    let mut verdict = Verdict::default();
    for target in targets.iter().filter(|target| wanted.is_none_or(|wanted| wanted == *target)) {
        println!("{target}: {seconds} s");
        let limits = format!("-max_total_time={seconds}");
        let mut command = fuzz(&["run", target, "--", &limits, "-rss_limit_mb=2048", "-verbosity=0"]);
        if !cargo::succeeds(&mut command)? {
            verdict.complain(format!("fuzz {target}: it found something, and says where"));
        }
    }
    Ok(verdict)
}

/// With the flags of a nightly compiler on the stable one: sanitizers need them.
fn fuzz(arguments: &[&str]) -> Command {
    let mut command = cargo::command(&["fuzz"]);
    command.args(arguments).env("RUSTC_BOOTSTRAP", "1");
    command
}

fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("fuzz/fuzz_targets")? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort_unstable();
    Ok(names)
}
