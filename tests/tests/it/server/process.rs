//! The binary `insula serve`, started, killed and asked to end.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

use super::web::Caller;
use crate::cli::harness::binary;

/// A server in a process of its own. Killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) url: String,
    /// Shown by the first one in a folder.
    pub(crate) key: Option<String>,
}

impl Process {
    /// Starts one on the data of this folder, and returns when it listens.
    pub(super) fn start(folder: &Path, settings: &[&str]) -> Self {
        Self::start_at(folder, "127.0.0.1:0", settings)
    }

    /// As [`Process::start`], at this address.
    pub(crate) fn start_at(folder: &Path, address: &str, settings: &[&str]) -> Self {
        let usual = ["sync=normal", "limits.lease=1s", "limits.park_after=50ms"];
        let settings = usual.iter().chain(settings).flat_map(|setting| ["--set", setting]);
        let mut command = Command::new(binary("insula"));
        command.args(["serve", "--json", "--listen", address]).args(settings);
        command.current_dir(folder).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        stdout.read_line(&mut greeting).unwrap();
        let greeting: Value = serde_json::from_str(&greeting).expect("it says where it listens");
        let text = |field: &str| greeting[field].as_str().map(str::to_owned);
        Self { child, stdout, url: text("listening").unwrap(), key: text("key") }
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    pub(super) fn caller(&self, key: &str) -> Caller {
        Caller::at(&self.url, Some(key.to_owned()))
    }

    /// Ends it as a loss of power does: no word to anybody.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for its end, and what it says last.
    pub(crate) async fn ended(mut self, within: Duration) -> (ExitStatus, Value) {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let status = tokio::time::timeout(within, waiting).await.expect("it ends in time");
        let mut last = String::new();
        self.stdout.read_to_string(&mut last).unwrap();
        (status, serde_json::from_str(&last).unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _code = self.child.wait();
    }
}
