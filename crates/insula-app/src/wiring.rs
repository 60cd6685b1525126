//! Storage, agents and engine, put together from the settings.

use std::{
    fs::DirBuilder,
    path::{Path, PathBuf},
    sync::Arc,
};

use insula_engine::{ExecutionEngineFactory, FactoryBuilder, Limits};
use insula_infra::{Backend, MemoryBackend, WorkerId};
use insula_postgres::PostgresBackend;
use insula_redis::{RedisOptions, RedisStore};
use insula_registry::AgentClassRegistry;
use insula_server::Plans;
use insula_sqlite::{Options, SqliteBackend, Synchronous};

use crate::{
    catalog,
    config::{Address, Database, Postgres, Settings, Sync, Way},
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
pub(crate) async fn factory(settings: &Settings) -> Result<ExecutionEngineFactory, Stop> {
    let agents = catalog::agents()?;
    let backend = writable(settings).await?;
    Ok(builder(settings, agents, backend).build())
}

/// As [`factory`], with plans of single users.
///
/// # Errors
/// As there.
pub(crate) async fn with_plans(settings: &Settings) -> Result<(ExecutionEngineFactory, Plans), Stop> {
    let agents = catalog::agents()?;
    let backend = writable(settings).await?;
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
    let builder = builder.worker(WorkerId::new(&settings.node));
    match settings.otlp {
        Some(_) => builder.traces(Arc::new(OpenTelemetry)),
        None => builder,
    }
}

/// The configured database, for a command that writes. A file is made if there is none; a Postgres is not: `insula migrate`
/// does that, as another role.
///
/// # Errors
/// As [`factory`].
pub(crate) async fn writable(settings: &Settings) -> Result<Backend, Stop> {
    make_private(&settings.data_dir)?;
    match &settings.database {
        Database::File(file) => with_redis(settings, sqlite(settings, file).open()?.into_backend()),
        Database::Postgres(server) => cluster(settings, server).await,
    }
}

/// The configured database, for a command that only reads; `None` when there is none yet.
///
/// # Errors
/// When there is one that cannot be used.
pub(crate) async fn existing(settings: &Settings) -> Result<Option<Backend>, Stop> {
    match &settings.database {
        Database::File(file) if !is_there(file)? => Ok(None),
        Database::File(file) => {
            let backend = sqlite(settings, file).readers(1).open()?.into_backend();
            with_redis(settings, backend).map(Some)
        }
        Database::Postgres(server) => cluster(settings, server).await.map(Some),
    }
}

/// Whether there is a database to look into. A Postgres that cannot be reached is not absent.
///
/// # Errors
/// When the operating system does not say.
pub(crate) fn has_database(settings: &Settings) -> Result<bool, Stop> {
    match &settings.database {
        Database::File(file) => is_there(file),
        Database::Postgres(_) => Ok(true),
    }
}

async fn cluster(settings: &Settings, server: &Postgres) -> Result<Backend, Stop> {
    let options = PostgresBackend::at(server.url.expose())
        .pooled(server.way == Way::Pooler)
        .connections(server.connections)
        // Telling other nodes costs each commit a lock that all of them share; Redis tells them for less.
        .signals(settings.redis.is_none());
    let given = |address: &Option<Address>| address.as_ref().map(|address| address.expose().to_owned());
    let options = match given(&server.direct) {
        Some(direct) => options.direct(direct),
        None => options,
    };
    let options = match given(&server.reads) {
        Some(replica) => options.reads(replica),
        None => options,
    };
    with_redis(settings, options.connect().await?.into_backend())
}

/// The backend with what Redis does for all nodes, where there is one. That it does not answer yet is no error.
fn with_redis(settings: &Settings, backend: Backend) -> Result<Backend, Stop> {
    match &settings.redis {
        Some(redis) => {
            let options = RedisOptions::default().prefix(&redis.prefix);
            Ok(RedisStore::connect(redis.url.expose(), backend, options)?.into_backend())
        }
        None => Ok(backend),
    }
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

fn sqlite(settings: &Settings, file: &Path) -> Options {
    let synchronous = match settings.sync {
        Sync::Full => Synchronous::Full,
        Sync::Normal => Synchronous::Normal,
    };
    SqliteBackend::at(file).synchronous(synchronous)
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
