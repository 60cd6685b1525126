//! The server's process.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// A server that listens. Dropping it ends it.
pub(super) struct Started {
    child: Child,
    _folder: tempfile::TempDir,
    pub(super) address: SocketAddr,
    pub(super) key: String,
    /// From its start to its first answer on `/readyz`.
    pub(super) ready_after: Duration,
}

impl Started {
    /// With rates that no load generator reaches.
    pub(super) fn new(insula: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let began = Instant::now();
        let mut child = Command::new(insula.canonicalize()?)
            .args(["serve", "--json", "--listen", "127.0.0.1:0"])
            .current_dir(folder.path())
            .env("INSULA_DATA_DIR", folder.path().join("data"))
            .envs([
                ("INSULA_SERVE_USER_RATE", "100000000"),
                ("INSULA_SERVE_ADDRESS_RATE", "100000000"),
                ("INSULA_LIMITS_CONNECTIONS", "10000"),
            ])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("it has an output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line)?;
        let address = said["listening"].as_str().and_then(|url| url.strip_prefix("http://"));
        let address: SocketAddr = address.context("it says where it listens")?.parse()?;
        let key = said["key"].as_str().context("it says its key")?.to_owned();
        super::http::ready(address)?;
        Ok(Self { child, _folder: folder, address, key, ready_after: began.elapsed() })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Resident memory of a process, in MB.
pub(super) fn memory(id: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap_or_default().parse()?;
    Ok(kilobytes / 1_024.0)
}
