//! One thread: its log, its place in the list, whose turn it is in it.

use std::{collections::VecDeque, sync::Arc};

use insula_context::{RunId, ThreadId, Timestamp};

use crate::{Event, EventType, Fork, RawJson, RunHeader, ThreadRecord};

/// One thread and its log.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) number: u64,
    pub(super) created_at: Timestamp,
    /// How many runs of it are there.
    pub(super) runs: usize,
    pub(super) log: VecDeque<Logged>,
    /// The `seq` of the log's front, or of the next event when the log is empty.
    pub(super) oldest: u64,
    /// Where its log branches off from another's.
    pub(super) fork: Option<Fork>,
    /// How many threads begin with its log. While there are any, it stays.
    pub(super) forks: usize,
    /// Submitted runs that have not ended, in the order in which they came: the first has its turn.
    pub(super) turns: VecDeque<RunId>,
}

impl Thread {
    pub(super) fn new(number: u64, created_at: Timestamp) -> Self {
        let (log, turns) = Default::default();
        Self { number, created_at, runs: 0, log, oldest: 1, fork: None, forks: 0, turns }
    }

    /// The `seq` of the first event that is its own.
    pub(super) fn begin(&self) -> u64 {
        self.fork.as_ref().map_or(1, |fork| fork.seq + 1)
    }

    /// As its owner reads it.
    pub(super) fn record(&self, id: &ThreadId) -> ThreadRecord {
        let (thread_id, created_at, head) = (id.clone(), self.created_at, self.head());
        ThreadRecord { thread_id, created_at, head, forked_from: self.fork.clone() }
    }

    /// The `seq` of the last event.
    pub(super) fn head(&self) -> u64 {
        self.oldest + self.log.len() as u64 - 1
    }

    /// The entries with `first <= seq <= last`, each with its `seq`.
    pub(super) fn span(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, &Logged)> {
        let first = first.max(self.oldest);
        let from = usize::try_from(first - self.oldest).unwrap_or(usize::MAX).min(self.log.len());
        self.log.range(from..).zip(first..=last).map(|(entry, seq)| (seq, entry))
    }
}

/// One event of a log.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) kind: EventType,
    pub(super) at: Timestamp,
    pub(super) data: RawJson,
    pub(super) journal: Option<RawJson>,
    pub(super) header: Arc<RunHeader>,
}

impl Logged {
    /// As its owner reads it.
    pub(super) fn event(&self, seq: u64) -> Event {
        let header = Arc::clone(&self.header);
        Event { seq, kind: self.kind, at: self.at, data: Arc::clone(&self.data), header }
    }
}
