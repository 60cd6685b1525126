//! SQLite keeps every rule of the ports.

use std::sync::Arc;

use insula_infra::conformance::{ManualClock, Subject};
use insula_sqlite::SqliteBackend;

async fn subject() -> Subject {
    let (clock, folder) = (Arc::new(ManualClock::new()), tempfile::tempdir().expect("a temporary folder"));
    let sqlite = SqliteBackend::at(folder.path().join("insula.db")).clock(clock.clone()).open().expect("opens");
    Subject::new(sqlite.into_backend(), clock).keeping(folder)
}

insula_infra::conformance!(sqlite, subject, with database);
