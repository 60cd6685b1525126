//! The rules that every backend keeps.

#[path = "../../../insula-infra/tests/properties/mod.rs"]
mod properties;

use std::sync::Arc;

use insula_infra::conformance::{ManualClock, Subject};

use crate::support;

/// Stories that the properties of the queue are tried with.
const CASES: u32 = 12;

/// Whether what comes at one instant of the clock is handed out in the order in which it came: here it is in the order of
/// submission, and an alarm counts from its time and not from when it is seen.
const TELLS_ARRIVALS: bool = false;

async fn subject() -> Subject {
    let (clock, database) = (Arc::new(ManualClock::new()), support::database().await);
    let postgres = support::at(&database).clock(clock.clone()).connect().await.expect("connects");
    Subject::new(postgres.into_backend(), clock).keeping(database)
}

insula_infra::conformance!(postgres, subject);
