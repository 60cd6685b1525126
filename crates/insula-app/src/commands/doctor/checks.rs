//! The checks, in the order in which one needs the other.

use std::path::Path;

use insula_context::{Clock, SystemClock};
use insula_engine::ExecutionEngineFactory;
use insula_infra::{Backend, Health, PageRequest, RunFilter};
use insula_sqlite::{SCHEMA_VERSION, SchemaStatus, SqliteBackend, schema_status};

use super::{Check, cluster};
use crate::{
    catalog,
    config::{Database, Settings},
    exit::{Kind, Stop},
    identity, wiring, words,
};

pub(super) const DATABASE: &str = "database";

/// Below this a few large files fill the disk.
const LITTLE: u64 = 1 << 30;
/// Below this the next runs may fail.
const TOO_LITTLE: u64 = 100 << 20;
/// 2026-01-01: no build of this binary is older.
const EARLIEST: i64 = 1_767_225_600_000_000;

/// Every check.
pub(super) async fn all(settings: &Settings) -> Vec<Check> {
    let mut checks = vec![configuration(settings), data_folder(settings), disk(settings)];
    let (database, backend) = database(settings).await;
    checks.extend(database);
    checks.push(clock(settings, backend.as_ref()).await);
    checks.push(agents(settings, backend));
    checks
}

fn configuration(settings: &Settings) -> Check {
    let set = settings.origins.iter().filter(|setting| !setting.origin.starts_with("default")).count();
    match identity::caller(settings) {
        Ok(scope) => Check::ok("configuration", format!("acts for {scope}; {set} settings differ from the defaults")),
        Err(stop) => Check::fail("configuration", &stop),
    }
}

fn data_folder(settings: &Settings) -> Check {
    const NAME: &str = "data folder";
    let folder = &settings.data_dir;
    let shown = folder.display();
    match wiring::is_there(folder) {
        Ok(true) => {}
        Ok(false) => return Check::ok(NAME, format!("{shown} is not there yet; the first run makes it")),
        Err(stop) => return Check::fail(NAME, &stop),
    }
    // A file without a name on the file system, where there is such a thing: nothing is left behind.
    if let Err(error) = tempfile::tempfile_in(folder) {
        let stop = Stop::new(Kind::Storage, format!("{shown} cannot be written")).because(error);
        return Check::fail(NAME, &stop.advise("give this user write access, or name another place with --data-dir"));
    }
    match open_to_others(folder) {
        Some(mode) => Check::warn(
            NAME,
            format!("{shown} is open to other users of this machine (mode {mode:o})"),
            format!("chmod 700 {shown}"),
        ),
        None => Check::ok(NAME, format!("{shown} can be written")),
    }
}

fn open_to_others(folder: &Path) -> Option<u32> {
    let metadata = std::fs::metadata(folder).ok()?;
    let mode = std::os::unix::fs::MetadataExt::mode(&metadata) & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn disk(settings: &Settings) -> Check {
    const NAME: &str = "disk";
    let there = settings.data_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let there = if there == Path::new("") { Path::new(".") } else { there };
    let free = match rustix::fs::statvfs(there) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => return Check::warn(NAME, format!("its size is not known ({error})"), "look with `df`"),
    };
    let detail = format!("{} are free", words::bytes(free));
    match free {
        0..TOO_LITTLE => Check::fail(NAME, &Stop::new(Kind::Storage, detail).advise("free some space")),
        TOO_LITTLE..LITTLE => Check::warn(NAME, detail, "free some space soon"),
        _ => Check::ok(NAME, detail),
    }
}

/// Also hands out the open database, if there is one.
async fn database(settings: &Settings) -> (Vec<Check>, Option<Backend>) {
    let mut checks = match &settings.database {
        Database::File(file) => match of_file(file) {
            Ok(check) => vec![check],
            Err(check) => return (vec![check], None),
        },
        Database::Postgres(server) => cluster::of_server(server).await,
    };
    if checks.iter().any(|check| check.finding == super::Finding::Fail) {
        return (checks, None);
    }
    match wiring::existing(settings).await {
        Ok(Some(backend)) => {
            checks.extend(health(&backend).await);
            (checks, Some(backend))
        }
        Ok(None) => (checks, None),
        Err(stop) => (vec![Check::fail(DATABASE, &stop)], None),
    }
}

/// How the file is; as an error when there is nothing in it to look at further.
fn of_file(file: &Path) -> Result<Check, Check> {
    let shown = file.display();
    wiring::is_there(file).map_err(|stop| Check::fail(DATABASE, &stop))?;
    match schema_status(file).map_err(|error| Check::fail(DATABASE, &error.into()))? {
        SchemaStatus::Version(SCHEMA_VERSION) => {
            Ok(Check::ok(DATABASE, format!("{shown} opens, schema version {SCHEMA_VERSION}")))
        }
        SchemaStatus::Version(version) => {
            let detail = format!("{shown} has schema version {version}, {SCHEMA_VERSION} is known");
            Err(Check::warn(DATABASE, detail, "`insula migrate` brings it up to date"))
        }
        _ => Err(Check::ok(DATABASE, format!("{shown} is not there yet; the first run makes it"))),
    }
}

async fn health(backend: &Backend) -> Vec<Check> {
    let components = backend.health.health().await;
    let check = |component: insula_infra::ComponentHealth| {
        let detail = format!("{}: {}", component.component, component.detail);
        match component.health {
            Health::Up => Check::ok("storage", detail),
            Health::Degraded => Check::warn("storage", detail, "it works, with less than it was configured for"),
            Health::Down => Check::fail("storage", &Stop::new(Kind::Storage, detail)),
        }
    };
    components.into_iter().map(check).collect()
}

/// A clock that stands before what has been written already makes times that decrease.
async fn clock(settings: &Settings, backend: Option<&Backend>) -> Check {
    const NAME: &str = "clock";
    const ADVICE: &str = "set the clock of this machine, best by NTP";
    let now = SystemClock::new().now();
    if now.as_micros() < EARLIEST {
        return Check::warn(NAME, format!("it says {now}, which is in the past"), ADVICE);
    }
    match newest(settings, backend).await {
        Some(newest) if newest > now => {
            Check::warn(NAME, format!("it says {now}, and a run was accepted at {newest}"), ADVICE)
        }
        _ => Check::ok(NAME, now.to_string()),
    }
}

async fn newest(settings: &Settings, backend: Option<&Backend>) -> Option<insula_context::Timestamp> {
    let scope = identity::caller(settings).ok()?;
    let page = PageRequest { cursor: None, limit: 1 };
    let newest = backend?.runs.runs(&scope, &RunFilter::default(), &page).await.ok()?;
    newest.items.first().map(|run| run.created_at)
}

fn agents(settings: &Settings, backend: Option<Backend>) -> Check {
    const NAME: &str = "agents";
    match lacking(settings, backend) {
        Ok((count, lacking)) if lacking.is_empty() => {
            Check::ok(NAME, format!("{count} agents have everything that they need"))
        }
        Ok((_, lacking)) => Check::fail(NAME, &Stop::configuration(lacking.join("; "))),
        Err(stop) => Check::fail(NAME, &stop),
    }
}

/// How many agents there are, and what some of them lack. Without a database yet, one in a temporary folder stands for it.
fn lacking(settings: &Settings, backend: Option<Backend>) -> Result<(usize, Vec<String>), Stop> {
    let folder = tempfile::tempdir().map_err(|error| Stop::failed("no temporary folder can be made").because(error))?;
    let backend = match backend {
        Some(backend) => backend,
        None => SqliteBackend::open(folder.path().join("insula.db"))?.into_backend(),
    };
    let scope = identity::caller(settings)?;
    let registry = catalog::agents()?;
    let tools = catalog::tools(folder.path());
    let factory = ExecutionEngineFactory::builder(registry.clone(), backend).tools(tools).build();
    let check = |name: &str| factory.instances().check(name, &scope).err().map(|error| error.to_string());
    Ok((registry.names().count(), registry.names().filter_map(check).collect()))
}
