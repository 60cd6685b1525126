//! The suite `clients`: programs that others have written, from the package registries, walk the whole journey of a real server.
//!
//! Each script in `tests/clients` gets a server of its own and prints a line for each of its checks, `ok NAME` or
//! `not ok NAME: WHY`. What the scripts import lies in private folders below `target/clients`, in the versions that are
//! committed beside them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo;
use crate::tools::{self, Tool};
use crate::transcript::Count;
use crate::verdict::Verdict;

struct Script {
    file: &'static str,
    needs: &'static [Tool],
}

const SCRIPTS: &[Script] = &[
    Script { file: "journey.py", needs: &[Tool::Python] },
    Script { file: "sockets.py", needs: &[Tool::Python] },
    Script { file: "webhooks.py", needs: &[Tool::Python] },
    Script { file: "contract.py", needs: &[Tool::Python] },
    Script { file: "journey.mjs", needs: &[Tool::Node] },
    Script { file: "examples.py", needs: &[Tool::Python, Tool::Node, Tool::Curl] },
    Script { file: "console.mjs", needs: &[Tool::Node, Tool::Chromium] },
];

/// A script that takes longer hangs.
const PATIENCE: &str = "600";
/// How often a server is asked whether it has ended, and how long is waited in between: half a minute in all.
const ENDING: (u32, Duration) = (1_500, Duration::from_millis(20));

/// Runs every script for which everything is there.
pub(crate) fn run(without: &[Tool]) -> Result<(Verdict, Count)> {
    let (chosen, left_out): (Vec<_>, Vec<_>) = SCRIPTS.iter().partition(|script| !script.needs_any(without));
    for script in left_out {
        println!("clients: {} is not run, as asked for: it needs {}", script.file, tools::names(script.needs));
    }
    let missing = tools::missing(&needed(&chosen))?;
    let folder = cargo::root().join("target/clients");
    let mut verdict = Verdict::default();
    let mut count = Count::default();
    if !chosen.is_empty() {
        prepare(&folder, &needed(&chosen), &missing)?;
    }
    for script in chosen {
        if script.needs_any(&missing) {
            let lacking = tools::names(&missing);
            verdict.complain(format!(
                "suite clients: {} was not run: install {lacking}, or ask for --without",
                script.file
            ));
        } else {
            let heard = script.run(&folder).unwrap_or_else(|error| Heard::failed(&error));
            verdict.absorb(heard.verdict(script.file));
            count.passed += heard.passed;
            count.failed += heard.failed;
        }
    }
    Ok((verdict, count))
}

fn needed(scripts: &[&Script]) -> Vec<Tool> {
    let mut tools: Vec<Tool> = Vec::new();
    for tool in scripts.iter().flat_map(|script| script.needs) {
        if !tools.contains(tool) {
            tools.push(*tool);
        }
    }
    tools
}

/// The private folders of Python and Node, made again when what they are to hold has changed.
fn prepare(folder: &Path, needed: &[Tool], missing: &[Tool]) -> Result<()> {
    let sources = cargo::root().join("tests/clients");
    fs::create_dir_all(folder)?;
    let wants = |tool| needed.contains(&tool) && !missing.contains(&tool);
    if wants(Tool::Python) {
        let venv = folder.join("venv");
        unless_made(&venv, &sources.join("requirements.txt"), |wanted| {
            succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
            succeed(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--requirement"]).arg(wanted))
        })?;
    }
    if wants(Tool::Node) {
        let node = folder.join("node");
        unless_made(&node, &sources.join("package-lock.json"), |wanted| {
            fs::create_dir_all(&node)?;
            fs::copy(wanted, node.join("package-lock.json"))?;
            fs::copy(sources.join("package.json"), node.join("package.json"))?;
            let flags = ["ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
            succeed(Command::new("npm").args(flags).current_dir(&node))
        })?;
        // Node looks for packages beside the script that imports them.
        for file in fs::read_dir(&sources)?.map(|entry| entry.map(|entry| entry.path())) {
            let file = file?;
            if file.extension().is_some_and(|extension| extension == "mjs") {
                fs::copy(&file, node.join(file.file_name().unwrap_or_default()))?;
            }
        }
    }
    Ok(())
}

fn unless_made(folder: &Path, wanted: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let stamp = folder.join("made-of");
    if fs::read(&stamp).ok() == Some(fs::read(wanted)?) {
        return Ok(());
    }
    println!("clients: installing {} into {}", wanted.display(), folder.display());
    make(wanted)?;
    fs::copy(wanted, stamp)?;
    Ok(())
}

fn succeed(command: &mut Command) -> Result<()> {
    ensure!(cargo::succeeds(command)?, "{command:?} failed");
    Ok(())
}

impl Script {
    fn needs_any(&self, tools: &[Tool]) -> bool {
        self.needs.iter().any(|need| tools.contains(need))
    }

    fn run(&self, folder: &Path) -> Result<Heard> {
        println!("\nclients: {}", self.file);
        let place = folder.join("servers").join(self.file);
        let server = Server::start(&place)?;
        let mut heard = Heard::default();
        let mut command = self.command(folder);
        command.env("INSULA_SERVER", &server.url).env("INSULA_KEY", &server.key).env("CLIENTS_BINARY", binary()?);
        command.env("CLIENTS_FOLDER", folder).env("PYTHONDONTWRITEBYTECODE", "1");
        heard.succeeded = cargo::listen(&mut command, |line| {
            heard.hear(line);
            println!("{line}");
        })?;
        heard.ended_well = server.stop()?;
        if heard.is_good() {
            fs::remove_dir_all(&place)?;
        } else {
            println!("clients: the log of the server is {}", place.join("server.log").display());
        }
        Ok(heard)
    }

    fn command(&self, folder: &Path) -> Command {
        let (program, sources) = match self.file.ends_with(".py") {
            true => (folder.join("venv/bin/python"), cargo::root().join("tests/clients")),
            false => (PathBuf::from("node"), folder.join("node")),
        };
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(program).arg(self.file).current_dir(sources);
        command
    }
}

/// What a script said.
#[derive(Debug, Default)]
struct Heard {
    passed: u64,
    failed: u64,
    succeeded: bool,
    ended_well: bool,
    error: Option<String>,
}

impl Heard {
    fn failed(error: &anyhow::Error) -> Self {
        Self { error: Some(format!("{error:#}")), ..Self::default() }
    }

    fn hear(&mut self, line: &str) {
        self.passed += u64::from(line.starts_with("ok "));
        self.failed += u64::from(line.starts_with("not ok "));
    }

    fn is_good(&self) -> bool {
        self.verdict("").failed == 0
    }

    fn verdict(&self, file: &str) -> Verdict {
        let mut verdict = Verdict::of_tests(self.passed, self.failed);
        if let Some(error) = &self.error {
            verdict.complain(format!("suite clients: {file}: {error}"));
        } else if self.passed + self.failed == 0 {
            verdict.complain(format!("suite clients: {file}: no check ran"));
        } else if !self.succeeded && self.failed == 0 {
            verdict.complain(format!("suite clients: {file} failed although no check did"));
        } else if !self.ended_well {
            verdict.complain(format!("suite clients: the server of {file} did not end in order"));
        }
        verdict
    }
}

/// The binary lies where this one does.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("this binary lies in no folder")?.join("insula"))
}

struct Server {
    child: Child,
    url: String,
    key: String,
    /// Kept, so that the server's last words have somewhere to go.
    _output: BufReader<ChildStdout>,
}

impl Server {
    fn start(place: &Path) -> Result<Self> {
        if place.exists() {
            fs::remove_dir_all(place)?;
        }
        fs::create_dir_all(place)?;
        let mut command = Command::new(binary()?);
        command.args(["serve", "--json", "--listen", "127.0.0.1:0", "--data-dir"]).arg(place.join("data"));
        command.current_dir(place).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(place.join("server.log"))?);
        // The receivers of webhooks are on this machine, and so is whoever waits for the server to end.
        command.env("INSULA_SERVE_WEBHOOK_HTTP", "allowed").env("INSULA_SERVE_WEBHOOK_NETWORKS", "127.0.0.0/8");
        command.env("INSULA_SERVE_DRAIN", "2s");
        let mut child = command.spawn().context("cannot start the server")?;
        let mut output = BufReader::new(child.stdout.take().context("the server has no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).with_context(|| format!("the server said {line:?}"))?;
        let text = |key: &str| said[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {line}"));
        Ok(Self { url: text("listening")?, key: text("key")?, child, _output: output })
    }

    /// Asks it to end; whether it did so in order and in time.
    fn stop(mut self) -> Result<bool> {
        succeed(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let (times, pause) = ENDING;
        for _ in 0..times {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(pause);
        }
        Ok(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Heard {
        let mut heard = Heard { succeeded: true, ended_well: true, ..Heard::default() };
        lines.iter().for_each(|line| heard.hear(line));
        heard
    }

    #[test]
    fn checks_are_counted_and_nothing_else_is() {
        let heard = heard(&["ok one", "Traceback: ok?", "not ok two: why", "okay"]);
        assert_eq!((heard.passed, heard.failed), (1, 1));
    }

    #[test]
    fn a_script_that_checks_nothing_or_fails_silently_has_failed() {
        assert!(heard(&["ok one"]).is_good());
        assert!(!heard(&[]).is_good());
        assert!(!Heard { succeeded: false, ..heard(&["ok one"]) }.is_good());
        assert!(!Heard { ended_well: false, ..heard(&["ok one"]) }.is_good());
    }

    #[test]
    fn every_script_is_there() {
        for script in SCRIPTS {
            assert!(cargo::root().join("tests/clients").join(script.file).exists(), "{}", script.file);
        }
    }
}
