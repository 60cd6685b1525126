//! The event log as its owner reads it: in order, from a cursor.

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{RunId, ThreadId, UserScope};

use crate::{Error, Event, PayloadHash};

/// Some events in order, and where the log stands.
#[derive(Debug, Clone, Default)]
pub struct EventPage {
    /// The events after the cursor, `seq` ascending.
    pub events: Vec<Event>,
    /// The `seq` of the oldest event that is still kept. A cursor below `oldest - 1` has a gap behind it.
    pub oldest: u64,
    /// The `seq` of the thread's last event.
    pub head: u64,
}

/// A user's events. Absent and foreign look the same: `None`.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Up to `limit` events of a thread with `seq > after`.
    ///
    /// # Errors
    /// When the store does not answer, or what it holds is corrupt.
    async fn thread_events(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error>;

    /// Up to `limit` events of one run with `seq > after`; `oldest` and `head` are those of its thread.
    ///
    /// # Errors
    /// When the store does not answer, or what it holds is corrupt.
    async fn run_events(
        &self,
        scope: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error>;

    /// A payload of this owner by its hash.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the stored bytes do not have this hash any more.
    async fn payload(&self, scope: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error>;
}
