//! Handing out runs: whose time has come, owners in turn.

use std::{sync::Arc, time::Duration};

use insula_context::{Timestamp, UserScope};

use super::{
    owner::{Holder, Place},
    shard::lock,
    store::{Shard, Store},
};
use crate::{Claimed, Lease, WorkerId};

impl Store {
    /// Up to `max` runs for this worker.
    pub(super) fn take(&self, worker: &WorkerId, lease: Duration, max: usize) -> Vec<Claimed> {
        let _one_at_a_time = lock(&self.claiming);
        let now = self.clock.now();
        self.wake_sleepers(now);
        self.collect_expired(now);
        let mut claimed = Vec::new();
        while claimed.len() < max {
            let Some(owner) = lock(&self.line).next() else { break };
            claimed.extend(self.serve(&owner, worker, now.plus(lease)));
        }
        claimed
    }

    fn wake_sleepers(&self, now: Timestamp) {
        let due = lock(&self.line).due(now);
        for (scope, id) in due {
            let mut shard = self.shards.lock(&scope);
            let Some(owner) = shard.owners.get_mut(&scope) else { continue };
            // Meanwhile somebody may have asked it to stop, and that has woken it already.
            if owner.runs.get(&id).is_some_and(|run| matches!(run.place, Place::Asleep(_))) {
                self.make_ready(&scope, owner, &id);
            }
        }
    }

    /// Puts the runs of lost workers back into the line.
    fn collect_expired(&self, now: Timestamp) {
        for mut shard in self.shards.each() {
            if shard.held.earliest() <= now {
                self.review(&mut shard, now);
            }
        }
    }

    fn review(&self, shard: &mut Shard, now: Timestamp) {
        let mut expired = Vec::new();
        for header in shard.held.review() {
            let Some(owner) = shard.owners.get_mut(&header.scope) else { continue };
            let Some(run) = owner.runs.get_mut(&header.run) else { continue };
            let Place::Held(holder) = &run.place else { continue };
            let renewed = lock(&self.workers).get(&holder.worker).copied();
            let until = renewed.map_or(holder.until, |renewed| renewed.max(holder.until));
            if until > now {
                shard.held.note(until);
            } else {
                expired.push((run.number, holder.slot, header));
            }
        }
        expired.sort_unstable_by_key(|(number, ..)| *number);
        for (_, slot, header) in expired {
            slot.into_iter().for_each(|slot| shard.held.remove(slot));
            if let Some(owner) = shard.owners.get_mut(&header.scope) {
                self.make_ready(&header.scope, owner, &header.run);
            }
        }
    }

    /// The oldest ready run of this owner, who then stands at the end of the line if there are more.
    fn serve(&self, scope: &UserScope, worker: &WorkerId, until: Timestamp) -> Option<Claimed> {
        let mut shard = self.shards.lock(scope);
        let Shard { owners, held, .. } = &mut *shard;
        let owner = owners.get_mut(scope)?;
        let id = owner.ready.pop_front()?;
        if !owner.ready.is_empty() {
            lock(&self.line).join(scope.clone());
        }
        let run = owner.runs.get_mut(&id)?;
        run.token += 1;
        let header = Arc::clone(&run.record.header);
        let slot = Some(held.insert(Arc::clone(&header), until));
        run.place = Place::Held(Holder { worker: worker.clone(), until, slot });
        let lease = Lease { header, worker: worker.clone(), token: run.token };
        Some(Claimed {
            lease,
            run: run.record.clone(),
            deadline: run.deadline,
            options: None,
            answers: Vec::new(),
            now: self.clock.now(),
        })
    }
}
