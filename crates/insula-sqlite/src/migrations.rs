//! The schema of the main file: embedded, forward only, and refused where it is not ours or from the future.

use std::path::Path;

use insula_infra::Error;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::File;

/// Marks a file as Insula's: "INSL" as a number.
const APPLICATION_ID: i32 = 0x494E_534C;

/// Step n leads from version n to n + 1. Never change one that was released: add another.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001_start.sql"),
    include_str!("../migrations/0002_waiting.sql"),
    include_str!("../migrations/0003_service.sql"),
];

/// The version that this build reads and writes.
pub const SCHEMA_VERSION: u32 = STEPS.len() as u32;

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaStatus {
    /// There is no file yet, or it is empty.
    Empty,
    /// Insula's, of this version: up to date when it is [`SCHEMA_VERSION`].
    Version(u32),
}

/// Reads the version of a file without changing it.
///
/// # Errors
/// When the file is not an Insula database, or cannot be read.
pub fn schema_status(path: &Path) -> Result<SchemaStatus, Error> {
    let file = File::new(path);
    // "May not look" is not "not there": only the latter is an empty installation.
    if !path
        .try_exists()
        .map_err(|error| file.problem(format!("it cannot be looked at ({error}): check the rights of its folder")))?
    {
        return Ok(SchemaStatus::Empty);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| file.opening(error))?;
    status(&connection, &file)
}

/// Brings a file up to date.
pub(crate) fn migrate(connection: &mut Connection, file: &File) -> Result<(), Error> {
    if status(connection, file)? == SchemaStatus::Version(SCHEMA_VERSION) {
        return Ok(());
    }
    apply(connection, file)
}

/// What the file says, or why it is refused.
pub(crate) fn status(connection: &Connection, file: &File) -> Result<SchemaStatus, Error> {
    let (id, version, tables) = header(connection).map_err(|error| file.opening(error))?;
    match (id, version) {
        (0, 0) if tables == 0 => Ok(SchemaStatus::Empty),
        (APPLICATION_ID, 1..=SCHEMA_VERSION) => Ok(SchemaStatus::Version(version)),
        (APPLICATION_ID, 0) => Err(file.problem("it says that it is Insula's and has no version: restore a backup")),
        (APPLICATION_ID, newer) => Err(file.problem(format!(
            "it has schema version {newer} and this build of Insula knows up to {SCHEMA_VERSION}: use a newer build, or \
             another file"
        ))),
        _ => Err(file.problem("it is an SQLite database of another program, not Insula's: give another path")),
    }
}

fn header(connection: &Connection) -> rusqlite::Result<(i32, u32, u32)> {
    const HEADER: &str = "SELECT (SELECT application_id FROM pragma_application_id),
                                 (SELECT user_version FROM pragma_user_version),
                                 (SELECT count(*) FROM sqlite_schema)";
    connection.query_row(HEADER, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

/// In one transaction, which looks again: two processes may have opened a new file at the same time.
fn apply(connection: &mut Connection, file: &File) -> Result<(), Error> {
    let failed = |error| file.error("migrate", error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let from = match status(&transaction, file)? {
        SchemaStatus::Empty => 0,
        SchemaStatus::Version(version) => version,
    };
    for step in STEPS.iter().skip(from as usize) {
        transaction.execute_batch(step).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(failed)?;
    transaction.commit().map_err(failed)
}
