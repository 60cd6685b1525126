//! Storage, agents and engine, put together from the settings.

use std::{
    fs::DirBuilder,
    path::{Path, PathBuf},
    sync::Arc,
};

use insula_engine::{ExecutionEngineFactory, FactoryBuilder, Limits};
use insula_infra::{Backend, MemoryBackend};
use insula_registry::AgentClassRegistry;
use insula_server::Plans;
use insula_sqlite::{Options, SqliteBackend, Synchronous};

use crate::{
    catalog,
    config::{Settings, Sync},
    exit::{Kind, Stop},
    telemetry::OpenTelemetry,
};

/// Where the reports of agents are written.
pub(crate) fn reports(settings: &Settings) -> PathBuf {
    settings.data_dir.join("reports")
}

/// Everything that runs need, on the configured database, which is made if there is none.
///
/// # Errors
/// When the data folder or the database cannot be used.
pub(crate) fn factory(settings: &Settings) -> Result<ExecutionEngineFactory, Stop> {
    let agents = catalog::agents()?;
    let backend = writable(settings)?;
    Ok(builder(settings, agents, backend).build())
}

/// As [`factory`], with plans of single users.
///
/// # Errors
/// As there.
pub(crate) async fn with_plans(settings: &Settings) -> Result<(ExecutionEngineFactory, Plans), Stop> {
    let agents = catalog::agents()?;
    let backend = writable(settings)?;
    let plans = Plans::load(Arc::clone(&backend.plans)).await?;
    let builder = builder(settings, agents, backend).limits_of(plans.limits_of(limits(settings)));
    Ok((builder.build(), plans))
}

/// The agents on storage of their own that keeps nothing, for what needs no database.
///
/// # Errors
/// When the agents do not fit together.
pub(crate) fn without_storage(settings: &Settings) -> Result<ExecutionEngineFactory, Stop> {
    let (agents, backend) = (catalog::agents()?, MemoryBackend::new().into_backend());
    Ok(builder(settings, agents, backend).build())
}

fn builder(settings: &Settings, agents: AgentClassRegistry, backend: Backend) -> FactoryBuilder {
    let tools = catalog::tools(&reports(settings));
    let builder = ExecutionEngineFactory::builder(agents, backend).tools(tools).limits(limits(settings));
    match settings.otlp {
        Some(_) => builder.traces(Arc::new(OpenTelemetry)),
        None => builder,
    }
}

/// The configured database, for a command that writes: made if there is none.
///
/// # Errors
/// As [`factory`].
pub(crate) fn writable(settings: &Settings) -> Result<Backend, Stop> {
    make_private(&settings.data_dir)?;
    Ok(database(settings).open()?.into_backend())
}

/// The configured database, for a command that only reads; `None` when there is none yet.
///
/// # Errors
/// When there is one that cannot be used.
pub(crate) fn existing(settings: &Settings) -> Result<Option<Backend>, Stop> {
    if !is_there(&settings.database)? {
        return Ok(None);
    }
    Ok(Some(database(settings).readers(1).open()?.into_backend()))
}

/// Whether a file or folder exists. One that may not be looked at is not absent.
///
/// # Errors
/// When the operating system does not say.
pub(crate) fn is_there(path: &Path) -> Result<bool, Stop> {
    path.try_exists().map_err(|error| {
        Stop::new(Kind::Storage, format!("{} cannot be looked at", path.display()))
            .because(error)
            .advise("run as the user that it belongs to, or name another place with --data-dir")
    })
}

fn database(settings: &Settings) -> Options {
    let synchronous = match settings.sync {
        Sync::Full => Synchronous::Full,
        Sync::Normal => Synchronous::Normal,
    };
    SqliteBackend::at(&settings.database).synchronous(synchronous)
}

/// Makes a folder, and those above it, that only this user may enter.
///
/// # Errors
/// When it cannot be made, or is no folder.
pub(crate) fn make_private(folder: &Path) -> Result<(), Stop> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder).map_err(|error| {
        Stop::new(Kind::Storage, format!("the data folder {} cannot be made", folder.display()))
            .because(error)
            .advise("give this user write access to the folder above it, or another place with --data-dir")
    })
}

/// What everybody may have.
pub(crate) fn limits(settings: &Settings) -> Limits {
    let ours = &settings.limits;
    Limits {
        engines: ours.engines,
        running: ours.running,
        waiting: ours.waiting,
        tool_calls: ours.tool_calls,
        queued: ours.queued,
        run_time: ours.run_time,
        park_after: ours.park_after,
        lease: ours.lease,
        retention: ours.retention,
        grace: ours.grace,
        connections: ours.connections,
        ..Limits::default()
    }
}
