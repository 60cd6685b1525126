//! The product's hand-written concurrency under a scheduler that tries many interleavings.
//!
//! The product's own files are compiled here a second time, unchanged, with another `std` and another `tokio` below them:
//! each use of a lock, an atomic or a thread is a place where the scheduler may let another thread go on. What a file
//! needs of its crate is in `events` and `Error`. The stories are told by the tests of this package.
#![expect(dead_code, unreachable_pub, reason = "the product's files are here whole, and a story needs some of each")]
#![expect(clippy::unwrap_used, reason = "a story may stop at the first surprise")]

extern crate insula_interleavings_std as std;

#[path = "../../../crates/insula-sqlite/src/inbox.rs"]
mod inbox;
#[path = "../../../crates/insula-engine/src/journal.rs"]
mod journal;
#[path = "../../../crates/insula-engine/src/lanes.rs"]
mod lanes;
#[path = "../../../crates/insula-engine/src/limits.rs"]
mod limits;
#[path = "../../../crates/insula-infra/src/signals.rs"]
mod signals;
#[path = "../../../crates/insula-engine/src/waits.rs"]
mod waits;

pub mod stories;

/// What the product's files need of their crate.
mod events {
    use insula_context::Timestamp;
    use insula_infra::{EventType, NewEvent, Payload};
    use serde::Serialize;

    pub(crate) type Saying = (NewEvent, Option<Payload>);

    pub(crate) fn event(kind: EventType, at: Timestamp, data: &impl Serialize) -> NewEvent {
        let data = serde_json::value::to_raw_value(data).unwrap();
        NewEvent { kind, at, data: data.into(), journal: None }
    }
}

/// The errors that the product's files give.
#[derive(Debug)]
enum Error {
    Limit {
        user: insula_context::UserScope,
        what: &'static str,
        limit: usize,
        retry_after: Option<std::time::Duration>,
        advice: &'static str,
    },
    ShutDown,
    Storage(insula_infra::Error),
}

impl From<insula_infra::Error> for Error {
    fn from(error: insula_infra::Error) -> Self {
        Self::Storage(error)
    }
}
