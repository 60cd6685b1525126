//! All owners, and what works across them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use insula_context::{Clock, RunId, Timestamp, UserScope};

use super::{
    budgets::Accounts,
    held::Held,
    line::{Line, RunKey},
    owner::{Owner, Place},
    schedules::Slots,
    shard::{Map, Sharded, lock},
    usage::Used,
    webhooks::Bell,
};
use crate::{LocalSignals, WorkerId};

/// Runs, events, payloads and state of all owners.
///
/// Locks are taken in this order: `claiming`, a shard, then one of `line`, `workers`, `accounts`, `slots` and `bell`; never two
/// shards at once.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) signals: LocalSignals,
    pub(super) retain: usize,
    pub(super) shards: Sharded<Shard>,
    pub(super) line: Mutex<Line>,
    /// One claim at a time, or the second would find the line empty while the first serves the owner it took from it.
    pub(super) claiming: Mutex<()>,
    /// Until when each worker renewed everything that it holds.
    pub(super) workers: Mutex<HashMap<WorkerId, Timestamp>>,
    pub(super) accounts: Mutex<Accounts>,
    /// When each schedule is due.
    pub(super) slots: Mutex<Slots>,
    /// When each call is to be made.
    pub(super) bell: Mutex<Bell>,
}

/// The owners whose scopes lead here.
#[derive(Debug, Default)]
pub(super) struct Shard {
    pub(super) owners: Map<UserScope, Owner>,
    pub(super) held: Held,
    /// Runs that were asked to stop and have not ended, or have answers that they have not taken.
    pub(super) wanted: HashSet<RunKey>,
    /// When the wishes of its owners for runs that do not exist are to be forgotten.
    pub(super) wishes: VecDeque<(Timestamp, UserScope)>,
    pub(super) used: Used,
}

impl Shard {
    /// Drops an owner who has nothing left.
    pub(super) fn drop_if_empty(&mut self, scope: &UserScope) {
        if self.owners.get(scope).is_some_and(Owner::is_empty) {
            self.owners.remove(scope);
        }
    }
}

impl Store {
    pub(super) fn new(clock: Arc<dyn Clock>, signals: LocalSignals, retain: usize) -> Self {
        Self {
            clock,
            signals,
            retain,
            shards: Sharded::new(),
            line: Mutex::default(),
            claiming: Mutex::default(),
            workers: Mutex::default(),
            accounts: Mutex::default(),
            slots: Mutex::default(),
            bell: Mutex::default(),
        }
    }

    /// Reads what an owner has; `None` when there is no such owner.
    pub(super) fn read<T>(&self, scope: &UserScope, read: impl FnOnce(&Owner) -> Option<T>) -> Option<T> {
        read(self.shards.lock(scope).owners.get(scope)?)
    }

    /// Puts a run into its owner's line, and the owner into everyone's.
    pub(super) fn make_ready(&self, scope: &UserScope, owner: &mut Owner, run: &RunId) {
        let Some(known) = owner.runs.get_mut(run) else { return };
        known.ready_since = self.clock.now();
        if let Place::Asleep(Some(alarm)) = known.place {
            lock(&self.line).forget(alarm);
            known.ready_since = known.ready_since.min(alarm.0);
        }
        known.place = Place::Ready;
        let priority = known.priority;
        if owner.ready.is_empty() {
            lock(&self.line).join(scope.clone());
        }
        let ticket = owner.ticket(priority);
        owner.ready.insert(ticket, run.clone());
    }

    /// Lets a run sleep until `at`.
    pub(super) fn set_alarm(&self, scope: &UserScope, owner: &mut Owner, run: &RunId, at: Timestamp) {
        if let Some(known) = owner.runs.get_mut(run) {
            known.place = Place::Asleep(Some(lock(&self.line).sleep(at, (scope.clone(), run.clone()))));
        }
    }

    /// Puts a run into the line, or lets it sleep if its time has not come.
    pub(super) fn begin(&self, scope: &UserScope, owner: &mut Owner, run: &RunId) {
        let later = owner.runs.get(run).and_then(|known| known.available_at).filter(|at| *at > self.clock.now());
        match later {
            Some(at) => self.set_alarm(scope, owner, run, at),
            None => self.make_ready(scope, owner, run),
        }
    }

    /// Hands out a run that sleeps or waits for its turn; others have what they need.
    pub(super) fn wake(&self, scope: &UserScope, owner: &mut Owner, run: &RunId) {
        let known = owner.runs.get(run);
        if known.is_some_and(|run| matches!(run.place, Place::Asleep(_) | Place::Blocked)) {
            self.make_ready(scope, owner, run);
        }
    }

    /// A submitted run of this owner is held no more.
    pub(super) fn give_room(&self, scope: &UserScope, owner: &mut Owner) {
        owner.share.held = owner.share.held.saturating_sub(1);
        if std::mem::take(&mut owner.share.passed_over) {
            lock(&self.line).come_back(scope);
        }
    }
}
