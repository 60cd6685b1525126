//! Wishes to stop: of runs that are there, and of those that may come.

use std::{collections::VecDeque, time::Duration};

use insula_context::{CancelReason, RunId, Timestamp, UserScope};

use super::{
    owner::{Owner, Place},
    runs::passes,
    store::{Shard, Store},
};
use crate::{CancelRequest, Error, RunFilter};

/// How long a wish for a run that does not exist is kept.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// How many of them an owner may have.
const MOST: usize = 1_000;

/// One owner's wishes to stop runs that do not exist, oldest first.
#[derive(Debug, Default)]
pub(super) struct Wishes(VecDeque<Wish>);

#[derive(Debug)]
struct Wish {
    run: RunId,
    reason: CancelReason,
    until: Timestamp,
}

impl Wishes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops those whose time is over.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while self.0.pop_front_if(|wish| wish.until <= now).is_some() {}
    }

    /// The wish that this run stops.
    pub(super) fn of(&self, run: &RunId) -> Option<&CancelReason> {
        self.0.iter().find(|wish| wish.run == *run).map(|wish| &wish.reason)
    }

    pub(super) fn take(&mut self, run: &RunId) -> Option<CancelReason> {
        let place = self.0.iter().position(|wish| wish.run == *run)?;
        self.0.remove(place).map(|wish| wish.reason)
    }

    fn keep(&mut self, run: &RunId, reason: CancelReason, until: Timestamp) {
        if self.of(run).is_some() {
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Wish { run: run.clone(), reason, until });
    }
}

impl Store {
    /// Records the wish for one run, there or not.
    pub(super) fn stop(&self, scope: &UserScope, id: &RunId, reason: CancelReason) -> CancelRequest {
        let mut shard = self.shards.lock(scope);
        let place = shard.owners.get(scope).and_then(|owner| owner.run(id)).map(|run| (&run.place, run.record.status));
        match place {
            None => {
                self.stop_ahead(&mut shard, scope, id, reason);
                CancelRequest::Ahead
            }
            Some((Place::Ended, status)) => CancelRequest::Ended(status),
            Some(_) => {
                self.ask_to_stop(&mut shard, scope, id, reason);
                CancelRequest::Recorded
            }
        }
    }

    /// Records the wish for every run of the filter that has not ended.
    pub(super) fn stop_all(&self, scope: &UserScope, filter: &RunFilter, reason: &CancelReason) -> Vec<RunId> {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get(scope) else { return Vec::new() };
        let mut asked: Vec<_> = owner.runs.values().filter(|run| !run.has_ended()).collect();
        asked.retain(|run| passes(filter, &run.record));
        asked.sort_unstable_by_key(|run| run.number);
        let asked: Vec<_> = asked.iter().map(|run| run.record.header.run.clone()).collect();
        for id in &asked {
            self.ask_to_stop(&mut shard, scope, id, reason.clone());
        }
        asked
    }

    /// Records the wish for a run that has not ended, and hands it out if nobody holds it.
    pub(super) fn ask_to_stop(&self, shard: &mut Shard, scope: &UserScope, id: &RunId, reason: CancelReason) {
        let Some(owner) = shard.owners.get_mut(scope) else { return };
        let Some(run) = owner.runs.get_mut(id) else { return };
        run.record.cancel.get_or_insert(reason);
        shard.wanted.insert((scope.clone(), id.clone()));
        self.wake(scope, owner, id);
    }

    fn stop_ahead(&self, shard: &mut Shard, scope: &UserScope, id: &RunId, reason: CancelReason) {
        let now = self.clock.now();
        shard.forget_wishes(now);
        let until = now.plus(KEPT_FOR);
        shard.owners.entry(scope.clone()).or_default().wishes.keep(id, reason, until);
        if shard.wishes.back().is_none_or(|(at, owner)| (*at, owner) != (until, scope)) {
            shard.wishes.push_back((until, scope.clone()));
        }
    }
}

impl Shard {
    /// Drops the wishes of all its owners whose time is over: owners who never come back leave nothing.
    fn forget_wishes(&mut self, now: Timestamp) {
        while let Some((_, scope)) = self.wishes.pop_front_if(|(until, _)| *until <= now) {
            if let Some(owner) = self.owners.get_mut(&scope) {
                owner.wishes.forget(now);
            }
            self.drop_if_empty(&scope);
        }
    }
}

impl Owner {
    /// Refuses to create a run that somebody wants to stop, unless this is how it ends.
    pub(super) fn refuse_stopped(&mut self, run: &RunId, now: Timestamp, obeys: bool) -> Result<(), Error> {
        self.wishes.forget(now);
        if obeys {
            self.wishes.take(run);
        }
        match self.wishes.of(run) {
            Some(reason) => Err(Error::CancelledAhead { run: run.clone(), reason: reason.clone() }),
            None => Ok(()),
        }
    }
}
