//! SQLite keeps every rule of the ports.

#[path = "../../insula-infra/tests/properties/mod.rs"]
mod properties;

use std::sync::Arc;

use insula_infra::conformance::{ManualClock, Subject};
use insula_sqlite::SqliteBackend;

/// Stories that the properties of the queue are tried with.
const CASES: u32 = 40;

/// Whether what comes at one instant of the clock is handed out in the order in which it came: here it is in the order of
/// submission, and an alarm counts from its time and not from when it is seen.
const TELLS_ARRIVALS: bool = false;

async fn subject() -> Subject {
    let (clock, folder) = (Arc::new(ManualClock::new()), tempfile::tempdir().expect("a temporary folder"));
    let sqlite = SqliteBackend::at(folder.path().join("insula.db")).clock(clock.clone()).open().expect("opens");
    Subject::new(sqlite.into_backend(), clock).keeping(folder)
}

insula_infra::conformance!(sqlite, subject, with database);
