//! The settings of where everything is stored: a file, or a Postgres and perhaps a Redis that several nodes share.

use std::path::{Path, PathBuf};

use insula_context::{IdSource, RandomIds};

use super::{address::Address, keys::NONE, read::Values};
use crate::{environment, exit::Stop};

/// Where runs and their logs are.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    /// SQLite, for the processes of one machine.
    File(PathBuf),
    Postgres(Postgres),
}

/// A server, for the nodes of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Postgres {
    /// As the role that row-level security holds back.
    pub url: Address,
    /// As the role that may change the schema; only `insula migrate` uses it.
    pub owner: Option<Address>,
    pub way: Way,
    /// Past the pooler, for what needs a session of its own.
    pub direct: Option<Address>,
    /// A replica that lists and logs are read from.
    pub reads: Option<Address>,
    pub connections: u32,
}

/// A server that carries news, cache and rates between the nodes.
#[derive(Debug, Clone)]
pub(crate) struct Redis {
    pub url: Address,
    pub prefix: String,
}

/// What stands between this process and the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Straight,
    /// A pooler that gives each transaction another session.
    Pooler,
}

impl Database {
    /// What it is called: a file, or a server without its password.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Postgres(server) => server.url.to_string(),
        }
    }
}

/// Reads and checks it.
pub(super) fn database(values: &Values, data_dir: &Path) -> Result<Database, Stop> {
    let url = if values.is_set("database") { postgres(values, "database")? } else { None };
    let Some(url) = url else { return file(values, data_dir) };
    Ok(Database::Postgres(Postgres {
        url,
        owner: optional(values, "database_owner")?,
        way: values.choice("database_pooler", &[("false", Way::Straight), ("true", Way::Pooler)])?,
        direct: optional(values, "database_direct")?,
        reads: optional(values, "database_reads")?,
        connections: u32::try_from(values.count("database_connections")?).unwrap_or(u32::MAX),
    }))
}

/// What is said of a Postgres says nothing of a file: somebody believes that there is one.
fn file(values: &Values, data_dir: &Path) -> Result<Database, Stop> {
    for key in ["database_owner", "database_direct", "database_reads"] {
        values.check(
            key,
            values.text(key)? == NONE,
            "it says nothing where `database` is no Postgres: set that as well",
        )?;
    }
    let is_named = values.is_set("database");
    Ok(Database::File(if is_named { values.path("database")? } else { data_dir.join("insula.db") }))
}

/// The Redis, where there is one.
pub(super) fn redis(values: &Values) -> Result<Option<Redis>, Stop> {
    let url = secret(values, "redis")?;
    if url == NONE {
        return Ok(None);
    }
    let is_address = url.starts_with("redis") && url.contains("://");
    values.check("redis", is_address, "an address is wanted: redis://HOST:PORT, or @FILE with one")?;
    Ok(Some(Redis { url: Address::new(url), prefix: values.text("redis_prefix")? }))
}

/// What this process is called among the nodes. Nobody else has the name: whatever was started before under it holds its
/// runs until its lease ends, and a command beside a server is another worker.
pub(super) fn node(values: &Values) -> Result<String, Stop> {
    let name = values.text("node")?;
    let name = if name == NONE { environment::machine() } else { name };
    let is_name = name.len() <= MAX_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    values.check("node", is_name, "a name has letters, digits, dots, dashes and underscores, 100 at most")?;
    let random = u32::try_from(RandomIds.random() & u128::from(u32::MAX)).unwrap_or_default();
    Ok(format!("{name}-{random:08x}"))
}

const MAX_NAME: usize = 100;

fn postgres(values: &Values, key: &str) -> Result<Option<Address>, Stop> {
    let url = secret(values, key)?;
    let is_address = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
    Ok(is_address.then(|| Address::new(url)))
}

fn optional(values: &Values, key: &str) -> Result<Option<Address>, Stop> {
    if values.text(key)? == NONE {
        return Ok(None);
    }
    let address = postgres(values, key)?;
    values.check(key, address.is_some(), "an address is wanted: postgres://USER@HOST/DATABASE, or @FILE with one")?;
    Ok(address)
}

/// What is set, or what stands in the file that `@FILE` names: a password need not be in the environment.
fn secret(values: &Values, key: &str) -> Result<String, Stop> {
    let text = values.text(key)?;
    let Some(file) = text.strip_prefix('@') else { return Ok(text) };
    let file = values.below(key, PathBuf::from(file));
    let read = std::fs::read_to_string(&file).map_err(|error| {
        Stop::configuration(format!("{key}: the file {} cannot be read", file.display()))
            .because(error)
            .advise("`insula config` shows where its name came from")
    });
    Ok(read?.trim().to_owned())
}
