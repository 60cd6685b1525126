//! A server that we started: it runs until we end it, and never longer than we do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How often it is looked whether a server is ready or gone, and how long is waited in between: 30 s in all.
const PATIENCE: (u32, Duration) = (1_500, Duration::from_millis(20));

/// How a server is asked to end, in the words of `setpriv` and as the signal itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) word: &'static str,
    pub(super) signal: Signal,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) url: String,
    child: Child,
    ending: Ending,
    log: PathBuf,
}

impl Server {
    /// Starts what `words` say, and returns when `is_ready`.
    pub(super) fn start(
        (name, url): (&'static str, String),
        words: &mut Command,
        ending: Ending,
        log: PathBuf,
        is_ready: impl Fn() -> bool,
    ) -> Result<Self> {
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        words.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // Ctrl-C is for us: we end the servers when nobody needs them any more.
        std::os::unix::process::CommandExt::process_group(words, 0);
        let child = words.spawn().with_context(|| format!("cannot start {words:?}"))?;
        let mut server = Self { name, url, child, ending, log };
        server.wait_until(is_ready)?;
        Ok(server)
    }

    fn wait_until(&mut self, is_ready: impl Fn() -> bool) -> Result<()> {
        for _ in 0..PATIENCE.0 {
            self.still_runs()?;
            if is_ready() {
                return Ok(());
            }
            thread::sleep(PATIENCE.1);
        }
        bail!("{} is not ready after half a minute:\n{}", self.name, self.last_words())
    }

    /// An error when it has ended by itself, with what it said last.
    pub(super) fn still_runs(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended by itself, {status}:\n{}", self.name, self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Asks it to end, and kills it when it does not.
    fn end(&mut self) -> Result<ExitStatus> {
        if self.child.try_wait()?.is_none() {
            kill_process(Pid::from_child(&self.child), self.ending.signal)?;
        }
        for _ in 0..PATIENCE.0 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(PATIENCE.1);
        }
        println!("{} does not end when asked: killed", self.name);
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            println!("{} may still be running, as process {}: {error}", self.name, self.child.id());
        }
    }
}

/// Begins a command whose process Linux ends when ours is gone, however that came about. `account` is for servers that do
/// not want to be root. Without `setpriv`, outside Linux, only an orderly end is one.
pub(super) fn guarded(program: &Path, ending: Ending, account: Option<&Account>) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", ending.word]);
    if let Some(account) = account {
        account.put_on(&mut command);
    }
    command.arg(program);
    command
}

/// Whom a server runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Account {
    /// The first of these that the machine knows.
    pub(super) fn first_of(names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| Some(Self { user: number("-u", name)?, group: number("-g", name)? }))
    }

    fn put_on(&self, setpriv: &mut Command) {
        let (user, group) = (self.user.to_string(), self.group.to_string());
        setpriv.args(["--reuid", &user, "--regid", &group, "--clear-groups"]);
    }
}

fn number(what: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([what, name]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    const TERM: Ending = Ending { word: "TERM", signal: Signal::TERM };

    fn shell(script: &str, folder: &Path) -> Result<Server> {
        let mut command = guarded(Path::new("sh"), TERM, None);
        command.args(["-c", script]).current_dir(folder);
        Server::start(("shell", String::new()), &mut command, TERM, folder.join("log"), || {
            folder.join("ready").exists()
        })
    }

    #[test]
    fn a_server_that_ends_before_it_is_ready_is_an_error_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let said = shell("echo no such port; exit 3", folder.path()).unwrap_err().to_string();
        assert!(said.contains("no such port") && said.contains("exit status: 3"), "{said}");
    }

    #[test]
    fn a_server_ends_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'touch asked; exit 0' TERM; touch ready; while :; do sleep 0.01; done";
        let server = shell(script, folder.path()).unwrap();
        let process = Pid::from_child(&server.child);
        drop(server);
        assert!(folder.path().join("asked").exists());
        assert!(rustix::process::test_kill_process(process).is_err());
    }

    /// Without the guard it takes half a minute to fail.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_server_does_not_outlive_whoever_is_killed_while_it_runs() {
        let server = guarded(Path::new("sh"), TERM, None);
        let mut parent = Command::new("sh");
        parent.args(["-c", r#""$@" & wait"#, "sh"]).arg(server.get_program()).args(server.get_args());
        parent.args(["-c", "echo runs; sleep 30 > /dev/null & wait; echo outlived"]).stdout(Stdio::piped());
        let mut parent = parent.spawn().unwrap();
        let mut said = BufReader::new(parent.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "runs");
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert!(said.next().is_none_or(|line| line.unwrap() != "outlived"));
    }
}
