//! Whose turn it is, and who sleeps until when. The only place where owners meet.

use std::collections::{BTreeMap, HashSet, VecDeque};

use insula_context::{RunId, Timestamp, UserScope};

/// A run, told apart from those of other owners.
pub(super) type RunKey = (UserScope, RunId);

/// A place among the sleepers. Numbered, because many may sleep until the same moment.
pub(super) type Alarm = (Timestamp, u64);

/// Owners with ready runs, each once, and the runs that wait for a time.
#[derive(Debug, Default)]
pub(super) struct Line {
    owners: VecDeque<UserScope>,
    sleepers: BTreeMap<Alarm, RunKey>,
    drawn: u64,
    passed: Passed,
}

/// Owners of whom enough is held.
#[derive(Debug, Default)]
struct Passed {
    owners: HashSet<UserScope>,
    /// The smallest limit under which one of them was passed over.
    under: usize,
}

impl Line {
    /// Puts an owner at the end.
    pub(super) fn join(&mut self, owner: UserScope) {
        self.owners.push_back(owner);
    }

    /// The owner whose turn it is.
    pub(super) fn next(&mut self) -> Option<UserScope> {
        self.owners.pop_front()
    }

    /// Keeps an owner first, whose turn is not over.
    pub(super) fn stay(&mut self, owner: UserScope) {
        self.owners.push_front(owner);
    }

    /// Leaves out an owner of whom as much is held as allowed.
    pub(super) fn pass_over(&mut self, owner: UserScope, limit: usize) {
        self.passed.under = if self.passed.owners.is_empty() { limit } else { self.passed.under.min(limit) };
        self.passed.owners.insert(owner);
    }

    /// Puts an owner back who was passed over.
    pub(super) fn come_back(&mut self, owner: &UserScope) {
        if let Some(owner) = self.passed.owners.take(owner) {
            self.owners.push_back(owner);
        }
    }

    /// Puts those back who were passed over under a smaller limit than this one.
    pub(super) fn reconsider(&mut self, limit: usize) {
        if limit > self.passed.under {
            self.owners.extend(self.passed.owners.drain());
        }
    }

    /// Forgets an owner.
    pub(super) fn leave(&mut self, owner: &UserScope) {
        self.owners.retain(|other| other != owner);
        self.passed.owners.remove(owner);
    }

    /// Lets a run sleep until `at`.
    pub(super) fn sleep(&mut self, at: Timestamp, run: RunKey) -> Alarm {
        self.drawn += 1;
        self.sleepers.insert((at, self.drawn), run);
        (at, self.drawn)
    }

    /// Forgets a sleeper that was woken before its time.
    pub(super) fn forget(&mut self, alarm: Alarm) {
        self.sleepers.remove(&alarm);
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.owners.is_empty() && self.passed.owners.is_empty() && self.sleepers.is_empty()
    }

    /// The runs whose time has come, in the order of their times.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<RunKey> {
        let mut due = Vec::new();
        while let Some(first) = self.sleepers.first_entry() {
            if first.key().0 > now {
                break;
            }
            due.push(first.remove());
        }
        due
    }
}
