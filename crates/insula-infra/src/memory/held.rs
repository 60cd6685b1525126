//! Which runs of a shard somebody holds, so that expired leases are found without looking at every run.

use std::sync::Arc;

use insula_context::Timestamp;

use crate::RunHeader;

const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// The held runs of one shard.
#[derive(Debug)]
pub(super) struct Held {
    slots: Vec<Option<Arc<RunHeader>>>,
    free: Vec<usize>,
    earliest: Timestamp,
}

impl Default for Held {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), earliest: NEVER }
    }
}

impl Held {
    /// Adds a run whose lease ends at `until`, and says in which slot it stands.
    pub(super) fn insert(&mut self, run: Arc<RunHeader>, until: Timestamp) -> usize {
        self.earliest = self.earliest.min(until);
        if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(run);
            return slot;
        }
        self.slots.push(Some(run));
        self.slots.len() - 1
    }

    /// Frees a slot.
    pub(super) fn remove(&mut self, slot: usize) {
        self.slots[slot] = None;
        self.free.push(slot);
        if self.free.len() == self.slots.len() {
            *self = Self::default();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// No lease of the shard ends before this: leases are extended and never shortened.
    pub(super) fn earliest(&self) -> Timestamp {
        self.earliest
    }

    /// The held runs, to be looked at one by one; each that stays held is to be [noted](Self::note) again.
    pub(super) fn review(&mut self) -> Vec<Arc<RunHeader>> {
        self.earliest = NEVER;
        self.slots.iter().flatten().cloned().collect()
    }

    /// A lease that goes on until then.
    pub(super) fn note(&mut self, until: Timestamp) {
        self.earliest = self.earliest.min(until);
    }
}
