//! Handing out runs: whose time has come, owners in turn.

use std::{sync::Arc, time::Duration};

use insula_context::{Timestamp, UserScope};

use super::{
    owner::{Holder, Owner, Place},
    shard::lock,
    store::{Shard, Store},
};
use crate::{Claimed, Lease, WorkerId};

impl Store {
    /// Up to `max` runs for this worker, of owners of whom fewer than `per_owner` submitted ones are held.
    pub(super) fn take(&self, worker: &WorkerId, lease: Duration, max: usize, per_owner: usize) -> Vec<Claimed> {
        let _one_at_a_time = lock(&self.claiming);
        let now = self.clock.now();
        self.wake_sleepers(now);
        self.collect_expired(now);
        lock(&self.line).reconsider(per_owner);
        let mut claimed = Vec::new();
        while claimed.len() < max {
            let Some(owner) = lock(&self.line).next() else { break };
            claimed.extend(self.serve(&owner, per_owner, worker, (now, now.plus(lease))));
        }
        claimed
    }

    fn wake_sleepers(&self, now: Timestamp) {
        let due = lock(&self.line).due(now);
        for (scope, id) in due {
            let mut shard = self.shards.lock(&scope);
            let Some(owner) = shard.owners.get_mut(&scope) else { continue };
            // Meanwhile somebody may have asked it to stop, and that has woken it already.
            self.wake(&scope, owner, &id);
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
                expired.push((run.number, holder.slot, run.submitted, header));
            }
        }
        expired.sort_unstable_by_key(|(number, ..)| *number);
        for (_, slot, submitted, header) in expired {
            slot.into_iter().for_each(|slot| shard.held.remove(slot));
            if let Some(owner) = shard.owners.get_mut(&header.scope) {
                if submitted {
                    self.give_room(&header.scope, owner);
                }
                self.make_ready(&header.scope, owner, &header.run);
            }
        }
    }

    /// The first ready run of this owner, who then goes on with the turn, or stands at the end of the line.
    fn serve(
        &self,
        scope: &UserScope,
        per_owner: usize,
        worker: &WorkerId,
        (now, until): (Timestamp, Timestamp),
    ) -> Option<Claimed> {
        let mut shard = self.shards.lock(scope);
        let Shard { owners, held, .. } = &mut *shard;
        let owner = owners.get_mut(scope)?;
        owner.share.passed_over = owner.share.held >= per_owner;
        if owner.share.passed_over {
            owner.share.served = 0;
            lock(&self.line).pass_over(scope.clone(), per_owner);
            return None;
        }
        let (_, id) = owner.ready.pop_first()?;
        self.next_turn(scope, owner);
        let run = owner.runs.get_mut(&id)?;
        if run.submitted {
            owner.share.held += 1;
            owner.share.unclaimed -= usize::from(run.token == 0);
        }
        run.token += 1;
        let header = Arc::clone(&run.record.header);
        let slot = Some(held.insert(Arc::clone(&header), until));
        run.place = Place::Held(Holder { worker: worker.clone(), until, slot });
        let lease = Lease { header, worker: worker.clone(), token: run.token };
        let (deadline, options, answers) = (run.deadline, run.options.clone(), run.answers());
        Some(Claimed { lease, run: run.record.clone(), deadline, options, answers, now })
    }

    /// Where an owner stands who was just served.
    fn next_turn(&self, scope: &UserScope, owner: &mut Owner) {
        owner.share.served += 1;
        let goes_on = owner.share.served < owner.share.weight;
        if owner.ready.is_empty() || !goes_on {
            owner.share.served = 0;
        }
        match (owner.ready.is_empty(), goes_on) {
            (true, _) => {}
            (false, true) => lock(&self.line).stay(scope.clone()),
            (false, false) => lock(&self.line).join(scope.clone()),
        }
    }
}
