//! What was used, summed up while it happens: a question about a month costs rows of days, not of runs.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use serde::Serialize;

use crate::Error;

/// What one agent class used for one user on one day.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct UsageRow {
    /// The day in UTC, as the number of days since 1970-01-01.
    pub day: i64,
    /// The agent class.
    pub agent: String,
    /// Runs that ended with a result on that day.
    pub completed: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were stopped.
    pub cancelled: u64,
    /// Tokens that were [spent](crate::Append::spent) on that day.
    pub tokens: u64,
    /// Money that was spent, in millionths.
    pub money: u64,
    /// From beginning to end of these runs together, in microseconds; of one that never began, nothing.
    pub run_micros: u64,
    /// Of these runs, how many took less than 1, 2, 4, 8 … ms: the last of the [`UsageRow::BUCKETS`] counts all others.
    pub took: Vec<u64>,
}

impl UsageRow {
    /// How many buckets there are: up to 2^22 ms, which is over an hour, and beyond.
    pub const BUCKETS: usize = 24;

    /// Nothing yet.
    pub fn new(day: i64, agent: &str) -> Self {
        Self { day, agent: agent.to_owned(), took: vec![0; Self::BUCKETS], ..Self::default() }
    }

    /// The day to which a moment belongs.
    pub fn day_of(at: Timestamp) -> i64 {
        at.as_micros().div_euclid(24 * 60 * 60 * 1_000_000)
    }

    /// How long a run took, in microseconds; nothing if it never began.
    pub fn micros(started: Option<Timestamp>, ended: Timestamp) -> u64 {
        started.map_or(0, |started| u64::try_from(ended.since(started).as_micros()).unwrap_or(u64::MAX))
    }

    /// The bucket of a run that took so many microseconds.
    pub fn bucket(micros: u64) -> usize {
        let millis = micros / 1_000;
        ((u64::BITS - millis.leading_zeros()) as usize).min(Self::BUCKETS - 1)
    }
}

/// What a user has used.
#[async_trait]
pub trait UsageStore: Send + Sync {
    /// From one day to another, both included; by day, then by agent.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn usage(&self, scope: &UserScope, from: i64, to: i64) -> Result<Vec<UsageRow>, Error>;
}
