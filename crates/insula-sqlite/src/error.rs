//! What the driver says, in the words of the ports: every error names the file and what to do about it.

use std::{path::Path, sync::Arc};

use insula_infra::{Error, Source};
use rusqlite::ErrorCode;

/// One database file, for errors: its path as it was given.
#[derive(Debug, Clone)]
pub(crate) struct File(Arc<str>);

/// Why a piece of work on a connection ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The work itself was refused, before it had written anything. Its neighbours in the transaction go on.
    Refused(Error),
    /// The driver failed: nothing of the transaction can be relied on.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Says which file an error without one belongs to.
#[derive(Debug, thiserror::Error)]
#[error("{file} is locked: another process is writing to it or holds it exclusively; try again, or stop that process")]
struct Locked {
    file: Arc<str>,
    source: rusqlite::Error,
}

impl File {
    pub(crate) fn new(path: &Path) -> Self {
        Self(Arc::from(&*path.to_string_lossy()))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// An error of this file that the driver knows nothing of.
    pub(crate) fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Database { file: self.0.to_string(), problem: problem.into(), source: None }
    }

    /// A row that says something else than was written.
    pub(crate) fn corrupt(&self, what: impl std::fmt::Display, detail: impl Into<String>) -> Error {
        Error::Corrupt { what: format!("{what} in {}", self.0), detail: detail.into() }
    }

    /// The driver's error while working on this file.
    pub(crate) fn error(&self, operation: &'static str, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::DiskFull { file: self.0.to_string(), source: Arc::new(error) },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => self.locked(operation, error),
            Some(ErrorCode::OperationInterrupted) => {
                Error::Unavailable { operation, component: "the interrupted statement", source: Some(Arc::new(error)) }
            }
            code => {
                let problem = format!("{operation}: {}", advice(code));
                Error::Database { file: self.0.to_string(), problem, source: Some(Arc::new(error)) }
            }
        }
    }

    /// The driver's error while opening this file: what is locked now may stay so for long, so nobody is told to retry
    /// without being told why.
    pub(crate) fn opening(&self, error: rusqlite::Error) -> Error {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Database {
                file: self.0.to_string(),
                problem: "it is locked: another process holds it exclusively; stop that process".to_owned(),
                source: Some(Arc::new(error)),
            },
            _ => self.error("open", error),
        }
    }

    pub(crate) fn stop(&self, operation: &'static str, stop: Stop) -> Error {
        match stop {
            Stop::Refused(error) => error,
            Stop::Failed(error) => self.error(operation, error),
        }
    }

    fn locked(&self, operation: &'static str, source: rusqlite::Error) -> Error {
        let source: Source = Arc::new(Locked { file: Arc::clone(&self.0), source });
        Error::Unavailable { operation, component: "the SQLite file", source: Some(source) }
    }
}

/// What to do about it.
fn advice(code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::NotADatabase) => "it is not an SQLite database: give another path, or move the file away",
        Some(ErrorCode::DatabaseCorrupt) => "it is damaged: restore it from a backup, or try `sqlite3 FILE .recover`",
        Some(ErrorCode::CannotOpen) => "it cannot be opened: check that its folder exists and that it is a file",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "it cannot be written: give this user write access to the file and its folder"
        }
        Some(ErrorCode::SystemIoFailure) => "the disk failed to read or write it: check the disk and the mount",
        Some(ErrorCode::OutOfMemory) => "there is not enough memory",
        Some(ErrorCode::TooBig) => "a value is larger than SQLite accepts",
        _ => "SQLite refused the operation",
    }
}

/// Whether the failure is the file's, so that every other write would meet it as well.
pub(crate) fn is_shared(error: &rusqlite::Error) -> bool {
    !matches!(
        error.sqlite_error_code(),
        None | Some(
            ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::TooBig
                | ErrorCode::ParameterOutOfRange
        )
    )
}
