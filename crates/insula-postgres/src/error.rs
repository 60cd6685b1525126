//! What the driver says, in the words of the ports: every error names the server and what to do about it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use insula_infra::{Error, Source};
use sqlx::error::DatabaseError;

/// One database, for errors: its address without credentials.
#[derive(Debug, Clone)]
pub(crate) struct Server(Arc<str>);

/// Why a piece of work in a transaction ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The work itself was refused.
    Refused(Error),
    /// The driver failed: nothing of the transaction can be relied on.
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

pub(crate) type Worked<T> = Result<T, Stop>;

/// What a failure means for whoever may try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Two transactions stood in each other's way; the same work may succeed at once.
    Contended,
    /// The server or the way to it is gone for now.
    Gone,
    /// A statement took longer than it may.
    TooSlow,
    Forbidden,
    Schema,
    Full,
    Other,
}

/// SQLSTATE codes: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn class_of(code: &str) -> Class {
    match code {
        "40001" | "40P01" | "55P03" => Class::Contended,
        "57014" => Class::TooSlow,
        "25006" | "53300" | "57P01" | "57P02" | "57P03" | "57P05" => Class::Gone,
        "42501" | "28000" | "28P01" => Class::Forbidden,
        "3D000" | "3F000" | "42P01" | "42703" | "42883" => Class::Schema,
        "53100" => Class::Full,
        code if code.starts_with("08") => Class::Gone,
        _ => Class::Other,
    }
}

fn code(error: &dyn DatabaseError) -> String {
    error.code().unwrap_or_default().into_owned()
}

/// Whether the same transaction may succeed if it is begun again at once: it stood in another's way, or another has written
/// the row that it found missing.
pub(crate) fn is_contended(error: &sqlx::Error) -> bool {
    error.as_database_error().map(code).is_some_and(|code| class_of(&code) == Class::Contended || code == "23505")
}

/// Whether it says something of the connection and nothing of the work.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error.as_database_error().map(code) {
        Some(code) => class_of(&code) == Class::Gone,
        None => !matches!(error, sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. }),
    }
}

impl Server {
    pub(crate) fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    pub(crate) fn stop(&self, operation: &'static str, stop: Stop) -> Error {
        match stop {
            Stop::Refused(error) => error,
            Stop::Failed(error) => self.error(operation, error),
        }
    }

    /// What the driver said, as one of the ports' errors.
    pub(crate) fn error(&self, operation: &'static str, error: sqlx::Error) -> Error {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Error::Timeout { operation, after: crate::connect::ACQUIRE };
        }
        let Some(code) = error.as_database_error().map(code) else { return self.outside(operation, error) };
        let words = error.to_string();
        let source: Source = Arc::new(error);
        match class_of(&code) {
            Class::Gone | Class::Contended => unavailable(operation, source),
            Class::TooSlow => Error::Timeout { operation, after: crate::connect::STATEMENT },
            Class::Full => Error::DiskFull { file: self.name().to_owned(), source },
            Class::Forbidden => {
                self.database(format!("{operation}: {words}: grant it, or use the role that has it"), source)
            }
            Class::Schema => self.database(format!("{operation}: {words}: run `insula migrate`"), source),
            Class::Other => self.database(format!("{operation}: {words}"), source),
        }
    }

    /// What went wrong between this process and the server, or within the driver.
    fn outside(&self, operation: &'static str, error: sqlx::Error) -> Error {
        let is_ours =
            matches!(error, sqlx::Error::Encode(_) | sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. });
        let words = error.to_string();
        let source: Source = Arc::new(error);
        if is_ours {
            return self.corrupt(operation, words);
        }
        unavailable(operation, source)
    }

    fn database(&self, problem: String, source: Source) -> Error {
        Error::Database { file: self.name().to_owned(), problem, source: Some(source) }
    }

    pub(crate) fn problem(&self, problem: impl Into<String>) -> Error {
        Error::Database { file: self.name().to_owned(), problem: problem.into(), source: None }
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>, detail: impl Into<String>) -> Error {
        Error::Corrupt { what: format!("{}: {}", self.name(), what.into()), detail: detail.into() }
    }
}

fn unavailable(operation: &'static str, source: Source) -> Error {
    Error::Unavailable { operation, component: "Postgres", source: Some(source) }
}

/// Text without what Postgres cannot store: a NUL becomes the sign for what cannot be shown.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }
}

/// Work that was handed to a task which did not come back.
pub(crate) fn gone(operation: &'static str) -> Error {
    Error::Unavailable { operation, component: "Postgres", source: None }
}

pub(crate) fn timeout(operation: &'static str, after: Duration) -> Error {
    Error::Timeout { operation, after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_failure_says_whether_trying_again_helps() {
        let cases = [
            ("40001", Class::Contended),
            ("40P01", Class::Contended),
            ("57014", Class::TooSlow),
            ("57P01", Class::Gone),
            ("08006", Class::Gone),
            ("42501", Class::Forbidden),
            ("42P01", Class::Schema),
            ("53100", Class::Full),
            ("22003", Class::Other),
        ];
        for (code, class) in cases {
            assert_eq!(class_of(code), class, "{code}");
        }
    }
}
