//! Postgres and Redis for tests: an address in the environment, else a private server in a temporary folder, started here
//! and ended here.

pub(crate) mod found;
mod postgres;
mod redis;
mod server;
mod up;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::{fs, iter};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tempfile::TempDir;

use self::server::Server;
use crate::tools::Tool;

pub(crate) use up::up;

/// Whether what is written outlives the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Disk {
    /// It outlives the server only, as tests need it.
    #[default]
    Quick,
    Durable,
}

/// How a run ended for those who used the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Well,
    Badly,
}

/// Addresses for tests, and the servers that we started to have them.
#[derive(Debug, Default)]
pub(crate) struct Services {
    servers: Vec<Server>,
    variables: Vec<(&'static str, String)>,
    /// Goes after the servers.
    folder: Option<TempDir>,
}

impl Services {
    /// For tests: what the environment names is used, the others are started.
    pub(crate) fn find(tools: &[Tool]) -> Result<Self> {
        let mut services = Self::default();
        for &tool in tools {
            match named(tool) {
                Some(address) => services.trust(tool, &address)?,
                None => services.start(tool, 0, Disk::Quick)?,
            }
        }
        Ok(services)
    }

    fn trust(&mut self, tool: Tool, address: &str) -> Result<()> {
        let authority = authority(address);
        TcpStream::connect(authority).with_context(|| format!("{} names {authority}", variable(tool)))?;
        println!("{}: {authority}, as {} says", tool.name(), variable(tool));
        self.variables.push((variable(tool), address.into()));
        Ok(())
    }

    /// On a free port when `port` is 0.
    fn start(&mut self, tool: Tool, port: u16, disk: Disk) -> Result<()> {
        catch_interrupts()?;
        let port = if port == 0 { free_port()? } else { port };
        let folder = self.folder()?;
        let started = match tool {
            Tool::Postgres => postgres::start(folder, port, disk),
            _ => redis::start(folder, port),
        };
        // What a server that did not start has to say is in its folder.
        let server = started.inspect_err(|_| self.keep_logs())?;
        println!("{}: started for this on 127.0.0.1:{port}", tool.name());
        self.variables.push((variable(tool), server.url.clone()));
        self.servers.push(server);
        Ok(())
    }

    fn folder(&mut self) -> Result<&Path> {
        if self.folder.is_none() {
            let folder = tempfile::Builder::new().prefix("insula-services-").tempdir()?;
            // Postgres is somebody else when we are root, and has to get to its own folder inside.
            let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(folder.path(), readable)?;
            self.folder = Some(folder);
        }
        Ok(self.folder.as_ref().map(TempDir::path).unwrap_or(Path::new("")))
    }

    pub(crate) fn name_to(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
    }

    /// Stops what was started. An error when a server had ended before.
    pub(crate) fn end(mut self, outcome: Outcome) -> Result<()> {
        let ran = self.servers.iter_mut().try_for_each(Server::still_runs);
        self.servers.clear();
        if outcome == Outcome::Badly || ran.is_err() {
            self.keep_logs();
        }
        ran
    }

    /// The logs alone; the data may be large.
    fn keep_logs(&mut self) {
        self.servers.clear();
        let Some(folder) = self.folder.take().map(TempDir::keep) else {
            return;
        };
        for data in ["postgres", "redis"] {
            // It may never have come to that.
            let _ = fs::remove_dir_all(folder.join(data));
        }
        println!("what the services said is in {}", folder.display());
    }
}

/// Where a test looks for the address.
fn variable(tool: Tool) -> &'static str {
    if tool == Tool::Postgres { "INSULA_TEST_POSTGRES" } else { "INSULA_TEST_REDIS" }
}

/// The address that the environment gives.
#[expect(clippy::disallowed_methods, reason = "whoever has servers of their own names them in the environment")]
pub(crate) fn named(tool: Tool) -> Option<String> {
    std::env::var(variable(tool)).ok().filter(|address| !address.is_empty())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// `host:port` of a URL, without the name and the password that may stand before it.
fn authority(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let before_path = after_scheme.split(['/', '?']).next().unwrap_or(after_scheme);
    before_path.rsplit('@').next().unwrap_or(before_path)
}

/// The first Ctrl-C is noted, so that the servers can be ended; the second ends us.
fn catch_interrupts() -> Result<()> {
    if INTERRUPTED.get().is_some() {
        return Ok(());
    }
    let interrupted = INTERRUPTED.get_or_init(Arc::default);
    for (signal, code) in iter::zip([SIGINT, SIGTERM], [130, 143]) {
        flag::register_conditional_shutdown(signal, code, Arc::clone(interrupted))?;
        flag::register(signal, Arc::clone(interrupted))?;
    }
    Ok(())
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether somebody wants the run to end.
pub(crate) fn was_interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_part_of_where_a_server_is() {
        assert_eq!(authority("postgres://me:secret@host:5432/db?x=1"), "host:5432");
        assert_eq!(authority("redis://127.0.0.1:6379"), "127.0.0.1:6379");
    }
}
