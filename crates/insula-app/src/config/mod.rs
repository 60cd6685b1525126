//! One configuration from four sources; later wins: defaults, the file, the environment, flags. Each value remembers
//! where it came from, and a key that nobody knows is an error.

mod address;
mod keys;
mod layer;
mod read;
mod serve;
mod storage;

use std::{path::PathBuf, time::Duration};

use insula_client::Key;
use serde::Serialize;

use crate::{
    cli::SettingFlags,
    environment::Environment,
    exit::{Kind, Stop},
};
pub(crate) use address::Address;
use layer::Layer;
use read::Values;
pub(crate) use serve::Serve;
pub(crate) use storage::{Database, Postgres, Redis, Way};

/// Everything that can be set, checked.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub data_dir: PathBuf,
    pub database: Database,
    pub redis: Option<Redis>,
    /// A name that no other process has.
    pub node: String,
    pub tenant: String,
    pub user: String,
    /// Without one, commands are done here.
    pub server: Option<Server>,
    pub sync: Sync,
    pub log: Log,
    /// The collector of traces; none are sent when absent.
    pub otlp: Option<String>,
    pub limits: Limits,
    pub serve: Serve,
    /// Every setting with its origin, in the order of the documentation.
    pub origins: Vec<Setting>,
}

/// A server, and what it lets the user in with.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub address: String,
    pub key: KeySource,
}

/// Where a key is.
#[derive(Debug, Clone)]
pub(crate) enum KeySource {
    Nowhere,
    Given(Key),
    File(PathBuf),
}

impl Server {
    /// The key.
    ///
    /// # Errors
    /// When there is none, or its file cannot be read.
    pub(crate) fn key(&self) -> Result<Key, Stop> {
        match &self.key {
            KeySource::Given(key) => Ok(key.clone()),
            KeySource::File(path) => std::fs::read_to_string(path).map(Key::new).map_err(|error| {
                Stop::configuration(format!("the key's file {} cannot be read", path.display()))
                    .because(error)
                    .advise("`insula config` shows where its name came from")
            }),
            KeySource::Nowhere => {
                let stop = Stop::new(Kind::NotAllowed, format!("{} wants a key, and none is given", self.address));
                Err(stop.advise(
                    "give one with --key @FILE, INSULA_KEY or insula.toml; \
                     where the server's database is, `insula token create` makes it",
                ))
            }
        }
    }
}

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    Full,
    Normal,
}

/// What the process says of itself, and how.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Pretty,
    Json,
}

/// What one user may have at once.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub engines: usize,
    pub running: usize,
    pub waiting: usize,
    pub tool_calls: usize,
    pub queued: usize,
    pub run_time: Duration,
    pub park_after: Duration,
    pub lease: Duration,
    /// For ever when absent.
    pub retention: Option<Duration>,
    pub grace: Duration,
    pub connections: usize,
}

/// One setting as `insula config` shows it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Setting {
    pub key: &'static str,
    pub value: String,
    /// Where the value came from.
    pub origin: String,
    pub about: &'static str,
}

impl Settings {
    /// Where a setting came from.
    pub(crate) fn origin(&self, key: &str) -> &str {
        self.origins.iter().find(|setting| setting.key == key).map_or("", |setting| &setting.origin)
    }

    /// Reads all four sources.
    ///
    /// # Errors
    /// Names the source, the key and what is wrong with it.
    pub(crate) fn load(flags: &SettingFlags, environment: &Environment) -> Result<Self, Stop> {
        let layers = [
            Layer::defaults(),
            Layer::file(flags.config.as_deref(), environment)?,
            Layer::environment(environment)?,
            Layer::flags(flags)?,
        ];
        read::settings(&Values::merge(layers)?)
    }
}

#[cfg(test)]
mod tests;
