//! A Postgres of our own: made by `initdb`, quick to forget.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::server::{Account, Ending, Server, guarded};
use super::{Disk, found};

/// Ends every session and writes down what there is.
const FAST: Ending = Ending { word: "INT", signal: Signal::INT };

pub(super) fn start(folder: &Path, port: u16, disk: Disk) -> Result<Server> {
    let programs = found::postgres().context("there is no Postgres server on this machine")?;
    let home = folder.join("postgres");
    let account = settle(&home)?;
    let cluster = Cluster { programs, home, account };
    cluster.make(&folder.join("initdb.log"))?;
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres");
    let ready = cluster.data().join("postmaster.pid");
    let is_ready = || fs::read_to_string(&ready).is_ok_and(|lines| says_ready(&lines));
    let log = folder.join("postgres.log");
    Server::start(("postgres", url), &mut cluster.server(port, disk), FAST, log, is_ready)
}

/// Postgres does not run as root: a folder that belongs to somebody else, who is then the one to run it.
fn settle(home: &Path) -> Result<Option<Account>> {
    fs::create_dir(home)?;
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let account = Account::first_of(&["postgres", "nobody"]).context("no account that is not root")?;
    chown(home, Some(account.user), Some(account.group))?;
    Ok(Some(account))
}

struct Cluster {
    programs: PathBuf,
    home: PathBuf,
    account: Option<Account>,
}

impl Cluster {
    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = guarded(&self.programs.join(program), FAST, self.account.as_ref());
        command.arg("-D").arg(self.data()).current_dir(&self.home).stdin(Stdio::null());
        command
    }

    /// In the order of a language where the server knows one, as most real databases are: code that takes the order of text
    /// for that of bytes is found out.
    fn make(&self, log: &Path) -> Result<()> {
        const LANGUAGE: &[&str] = &["--locale-provider=icu", "--icu-locale=en-US"];
        let first = self.initdb(LANGUAGE)?;
        let output = if first.status.success() { first } else { self.initdb(&[])? };
        let said = [output.stdout, output.stderr].concat();
        fs::write(log, &said)?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&said));
        Ok(())
    }

    fn initdb(&self, language: &[&str]) -> Result<std::process::Output> {
        let mut command = self.command("initdb");
        command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        command.args(language).output().with_context(|| format!("cannot start {command:?}"))
    }

    fn server(&self, port: u16, disk: Disk) -> Command {
        let mut command = self.command("postgres");
        let fsync = if disk == Disk::Durable { "fsync=on" } else { "fsync=off" };
        let socket = format!("unix_socket_directories={}", self.home.display());
        let settings =
            [fsync, "listen_addresses=127.0.0.1", "max_connections=300", "shared_buffers=128MB", socket.as_str()];
        command.arg("-p").arg(port.to_string()).args(settings.iter().flat_map(|setting| ["-c", *setting]));
        command
    }
}

/// The eighth line is the state, for whoever wants to wait.
fn says_ready(postmaster: &str) -> bool {
    postmaster.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_when_it_says_so() {
        let file = |state: &str| format!("1\n/data\n3\n4\n/socket\n127.0.0.1\n7\n{state}\n");
        assert!(says_ready(&file("ready   ")));
        assert!(!says_ready(&file("starting")) && !says_ready("1\n/data\n"));
    }
}
