//! Connections to the main file.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use insula_infra::Error;
use rusqlite::{Connection, OpenFlags};

use crate::{Synchronous, error::File, migrations};

/// Prepared statements per connection: all that this crate has fit.
const STATEMENTS: usize = 128;

/// Pages of write-ahead log after which a commit also moves them into the file: 40 MiB. Measured, a tenth of that
/// costs a third of the throughput.
const CHECKPOINT_PAGES: u32 = 10_000;

/// Where the main file is and how to open it.
#[derive(Debug, Clone)]
pub(crate) struct Main {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    pub(crate) synchronous: Synchronous,
    pub(crate) busy: Duration,
}

impl Main {
    /// The connection that writes. Makes the file if there is none.
    pub(crate) fn writer(&self) -> Result<Connection, Error> {
        prepare_file(&self.path, &self.file)?;
        let mut connection = self.open()?;
        // Looks before it touches anything: the file may be another program's.
        migrations::status(&connection, &self.file)?;
        self.set_up_writer(&connection).map_err(|error| self.file.opening(error))?;
        migrations::migrate(&mut connection, &self.file)?;
        Ok(connection)
    }

    /// A connection that only reads.
    pub(crate) fn reader(&self) -> Result<Connection, Error> {
        let connection = self.open()?;
        connection.pragma_update(None, "query_only", true).map_err(|error| self.file.opening(error))?;
        Ok(connection)
    }

    fn open(&self) -> Result<Connection, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| self.file.opening(error))?;
        connection.busy_timeout(self.busy).map_err(|error| self.file.opening(error))?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    fn set_up_writer(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", self.synchronous.as_str())?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.pragma_update(None, "cache_size", -65_536)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))
    }
}

/// Makes an empty file that only this user may read; SQLite gives its companions the same rights.
pub(crate) fn prepare_file(path: &Path, file: &File) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        let folder = folder.display();
        return Err(file.problem(format!("its folder {folder} does not exist: create it, or give another path")));
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::Database {
            file: file.name().to_owned(),
            problem: "it cannot be created: give this user write access to its folder".to_owned(),
            source: Some(std::sync::Arc::new(error)),
        }),
        _ => Ok(()),
    }
}
