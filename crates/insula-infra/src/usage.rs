//! What was used, summed up while it happens: a question about a month costs rows of days, not of runs.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use serde::Serialize;

use crate::{Amounts, Error, RunStatus};

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

    /// Counts a run that has ended after so many microseconds.
    pub fn add_end(&mut self, status: RunStatus, micros: u64) {
        match status {
            RunStatus::Completed => self.completed += 1,
            RunStatus::Failed => self.failed += 1,
            _ => self.cancelled += 1,
        }
        self.run_micros = self.run_micros.saturating_add(micros);
        if let Some(runs) = self.took.get_mut(Self::bucket(micros)) {
            *runs += 1;
        }
    }

    /// Counts what a call has cost.
    pub fn add_spent(&mut self, amounts: &Amounts) {
        self.tokens = self.tokens.saturating_add(amounts.tokens);
        self.money = self.money.saturating_add(amounts.money);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_less_than_its_limit_and_not_less_than_the_one_before() {
        let cases = [(0, 0), (999, 0), (1_000, 1), (1_999, 1), (2_000, 2), (4_000, 3), (1_000_000, 10), (u64::MAX, 23)];
        for (micros, bucket) in cases {
            assert_eq!(UsageRow::bucket(micros), bucket, "{micros} µs");
        }
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc_also_before_1970() {
        let day = 24 * 60 * 60 * 1_000_000;
        for (micros, expected) in [(0, 0), (day - 1, 0), (day, 1), (-1, -1), (-day, -1), (-day - 1, -2)] {
            assert_eq!(UsageRow::day_of(Timestamp::from_micros(micros)), expected, "{micros}");
        }
    }

    #[test]
    fn a_clock_that_went_back_makes_no_run_long() {
        let (earlier, later) = (Timestamp::from_micros(1), Timestamp::from_micros(3));
        assert_eq!(UsageRow::micros(Some(earlier), later), 2);
        assert_eq!(UsageRow::micros(Some(later), earlier), 0);
        assert_eq!(UsageRow::micros(None, later), 0);
    }
}
