//! The schema: embedded, forward only, brought up to date by one process at a time however many start at once.

use insula_infra::Error;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{connect::Address, error::Server};

/// The schema version that this build knows.
pub const SCHEMA_VERSION: u32 = STEPS.len() as u32;

/// Stands for the content of the schema: two builds that say the same make the same.
pub const SCHEMA_HASH: &str = env!("INSULA_SCHEMA_HASH");

const ROLES: &str = include_str!("../migrations/roles.sql");
const STEPS: [&str; 3] = [
    include_str!("../migrations/0001_core.sql"),
    include_str!("../migrations/0002_walls.sql"),
    include_str!("../migrations/0003_agents.sql"),
];
/// What belongs to the database and not to its schema: a copy of the database does not have it.
const AGENTS: &str = include_str!("../migrations/agents.sql");

/// Held while the schema is looked at and changed.
const LOCK: &str = "SELECT pg_advisory_lock(7310593858020254332)";

/// How a database stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaStatus {
    /// It has no schema of Insula's.
    Empty,
    /// It has this version.
    Version(u32),
}

/// What a database holds, changing nothing.
///
/// # Errors
/// When it does not answer.
pub async fn schema_status(url: &str) -> Result<SchemaStatus, Error> {
    let address = Address::parse(url, true)?;
    let mut connection = connect(&address).await?;
    status(&mut connection, &address.server).await
}

/// Brings a database up to date, as the role of this URL: `insula_owner`, or one that may make roles. Returns the version
/// from which it came. May be called by any number of processes at once.
///
/// # Errors
/// [`Error::Database`] when the database is of a newer version, or the role may not do it.
pub async fn migrate(url: &str) -> Result<SchemaStatus, Error> {
    let address = Address::parse(url, true)?;
    let mut connection = connect(&address).await?;
    let failed = |error| address.server.error("migrate", error);
    (&mut connection).execute(LOCK).await.map_err(failed)?;
    let outcome = apply(&mut connection, &address.server).await;
    // The lock ends with the connection.
    let _closed = connection.close().await;
    outcome
}

pub(crate) async fn connect(address: &Address) -> Result<PgConnection, Error> {
    let connecting = PgConnection::connect_with(&address.options);
    let waited = tokio::time::timeout(crate::connect::ACQUIRE, connecting).await;
    waited
        .map_err(|_| crate::error::timeout("connect", crate::connect::ACQUIRE))?
        .map_err(|error| address.server.error("connect", error))
}

/// What the database says, or why it is refused.
pub(crate) async fn status(connection: &mut PgConnection, server: &Server) -> Result<SchemaStatus, Error> {
    const THERE: &str = "SELECT to_regclass('insula.schema') IS NOT NULL";
    const VERSION: &str = "SELECT version FROM insula.schema";
    let failed = |error| server.error("read the schema's version", error);
    let there: bool = sqlx::query_scalar(THERE).persistent(false).fetch_one(&mut *connection).await.map_err(failed)?;
    if !there {
        return Ok(SchemaStatus::Empty);
    }
    let version: i64 = sqlx::query_scalar(VERSION).persistent(false).fetch_one(connection).await.map_err(failed)?;
    match u32::try_from(version) {
        Ok(version) if version <= SCHEMA_VERSION => Ok(SchemaStatus::Version(version)),
        _ => Err(server.problem(format!(
            "it has schema version {version} and this build of Insula knows up to {SCHEMA_VERSION}: use a newer build"
        ))),
    }
}

async fn apply(connection: &mut PgConnection, server: &Server) -> Result<SchemaStatus, Error> {
    let from = status(connection, server).await?;
    let done = match from {
        SchemaStatus::Empty => 0,
        SchemaStatus::Version(version) => version as usize,
    };
    let failed = |error| server.error("migrate", error);
    if done < STEPS.len() {
        (&mut *connection).execute(ROLES).await.map_err(failed)?;
        (&mut *connection).execute(AssertSqlSafe(script(done))).await.map_err(failed)?;
    }
    if !is_walled(connection).await.map_err(failed)? {
        (&mut *connection).execute(AGENTS).await.map_err(failed)?;
    }
    Ok(from)
}

/// Whether agents are shut out of what a database leaves open to everybody.
async fn is_walled(connection: &mut PgConnection) -> sqlx::Result<bool> {
    const WALLED: &str = "SELECT has_database_privilege('insula_keeper', current_database(), 'CREATE')
        AND NOT has_table_privilege('public', 'pg_catalog.pg_class', 'SELECT')";
    sqlx::query_scalar(WALLED).persistent(false).fetch_one(connection).await
}

/// All steps in one transaction, as the role that is to own what they make.
fn script(done: usize) -> String {
    const TABLE: &str = "CREATE TABLE insula.schema (version bigint NOT NULL); INSERT INTO insula.schema VALUES (0);
        GRANT SELECT ON insula.schema TO PUBLIC;";
    let mut script = "BEGIN; SET LOCAL ROLE insula_owner;\n".to_owned();
    for (n, step) in STEPS.iter().enumerate().skip(done) {
        script.push_str(step);
        if n == 0 {
            script.push_str(TABLE);
            script.push_str("GRANT CREATE ON SCHEMA insula TO insula_engine;");
        }
    }
    script.push_str(&format!("UPDATE insula.schema SET version = {SCHEMA_VERSION}; COMMIT;"));
    script
}
