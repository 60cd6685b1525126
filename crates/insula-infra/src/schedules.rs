//! Runs that begin by the calendar.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use serde::Serialize;

use crate::{Error, RawJson};

/// A schedule as it is stored. What it means is known above: the store knows only when it is due.
#[derive(Debug, Clone, Serialize)]
pub struct ScheduleRecord {
    /// Its name, unique for its owner.
    pub name: String,
    /// When, and what is to be run then.
    pub spec: RawJson,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its next slot; `None` when it is paused or has none left.
    pub next_at: Option<Timestamp>,
}

/// A user's schedules. Absent and foreign look the same.
#[async_trait]
pub trait ScheduleStore: Send + Sync {
    /// Adds a schedule, or replaces the one of that name.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn put_schedule(&self, scope: &UserScope, schedule: ScheduleRecord) -> Result<(), Error>;

    /// All of them, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn schedules(&self, scope: &UserScope) -> Result<Vec<ScheduleRecord>, Error>;

    /// Removes one, and says whether there was one.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn delete_schedule(&self, scope: &UserScope, name: &str) -> Result<bool, Error>;
}
