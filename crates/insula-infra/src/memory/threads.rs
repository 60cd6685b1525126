//! Threads as a whole: where their logs branch off, and how they go.

use insula_context::{RunId, ThreadId, Timestamp, UserScope};

use super::{
    owner::{Owner, Place, Run},
    shard::{Map, lock},
    store::Store,
    thread::{Logged, Thread},
};
use crate::{Deleted, Error, Fork, ThreadRecord};

/// A thread's log with those that it begins with.
pub(super) struct Branch<'a> {
    /// Each log with the last `seq` that belongs to this one, the nearest first.
    parts: Vec<(&'a Thread, u64)>,
    /// The oldest `seq` behind which nothing is missing.
    pub(super) oldest: u64,
    pub(super) head: u64,
}

impl<'a> Branch<'a> {
    /// The entries with a greater `seq`, in order.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = (u64, &'a Logged)> {
        let first = self.oldest.max(after.saturating_add(1));
        self.parts.iter().rev().flat_map(move |(thread, last)| thread.span(first, *last))
    }
}

impl Owner {
    /// The whole log of a thread, over the places where it branches off.
    pub(super) fn branch(&self, id: &ThreadId) -> Option<Branch<'_>> {
        let mut thread = self.threads.get(id)?;
        let (mut parts, mut last, head) = (Vec::new(), u64::MAX, thread.head());
        let oldest = loop {
            parts.push((thread, last));
            let begin = thread.begin();
            // A part whose front has gone hides what stands before it: a log has no hole.
            if last >= begin && thread.oldest > begin {
                break thread.oldest.min(last.saturating_add(1));
            }
            let Some(fork) = &thread.fork else { break begin };
            last = last.min(fork.seq);
            let Some(other) = self.threads.get(&fork.thread_id) else { break last + 1 };
            thread = other;
        };
        Some(Branch { parts, oldest, head })
    }

    fn fork(&mut self, fork: &Fork, into: &ThreadId, at: Timestamp) -> Result<Option<ThreadRecord>, Error> {
        if self.threads.contains_key(into) {
            return Err(Error::ThreadExists { thread: into.clone() });
        }
        let Some(origin) = self.threads.get_mut(&fork.thread_id).filter(|origin| origin.head() >= fork.seq) else {
            return Ok(None);
        };
        origin.forks += 1;
        let mut thread = Thread::new(self.thread_order.push(into.clone()), at);
        (thread.oldest, thread.fork) = (fork.seq + 1, Some(fork.clone()));
        let record = thread.record(into);
        self.threads.insert(into.clone(), thread);
        Ok(Some(record))
    }

    fn begin_thread(&mut self, id: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        if self.threads.contains_key(id) {
            return Err(Error::ThreadExists { thread: id.clone() });
        }
        let thread = Thread::new(self.thread_order.push(id.clone()), at);
        let record = thread.record(id);
        self.threads.insert(id.clone(), thread);
        Ok(record)
    }

    fn delete(&mut self, id: &ThreadId) -> Result<Option<Deleted>, Error> {
        let Some(thread) = self.threads.get(id) else { return Ok(None) };
        let open = self.runs.values().find(|run| run.record.header.thread == *id && !run.has_ended());
        if let Some(run) = open {
            return Err(Error::ThreadBusy { thread: id.clone(), run: run.record.header.run.clone() });
        }
        if thread.forks > 0 {
            let begins_here = |(_, other): &(_, &Thread)| other.fork.as_ref().is_some_and(|fork| fork.thread_id == *id);
            let fork = self.threads.iter().find(begins_here).map_or(id, |(fork, _)| fork).clone();
            return Err(Error::ThreadForked { thread: id.clone(), fork });
        }
        Ok(Some(self.remove_thread(id)))
    }

    /// Drops a thread whose runs have all ended, with them.
    fn remove_thread(&mut self, id: &ThreadId) -> Deleted {
        let of_thread = self.runs.values().filter(|run| run.record.header.thread == *id);
        let runs: Vec<_> = of_thread.map(|run| (run.record.header.run.clone(), shown(run))).collect();
        let shown = runs.iter().filter(|(_, shown)| *shown).count();
        for (run, _) in &runs {
            self.remove(run);
        }
        // Each of them stands there once, or its name would be forgotten again when somebody else has it.
        self.ended.retain(|run| self.runs.contains_key(run));
        self.drop_thread(id);
        Deleted { threads: 1, runs: shown as u64 }
    }

    /// Threads that may go: all their runs ended before that time, and no other begins with their log.
    fn older_than(&self, before: Timestamp) -> Vec<ThreadId> {
        let mut last: Map<&ThreadId, Timestamp> = Map::default();
        for Run { record, .. } in self.runs.values() {
            let ended = record.ended_at.unwrap_or(Timestamp::from_micros(i64::MAX));
            let latest = last.entry(&record.header.thread).or_insert(ended);
            *latest = ended.max(*latest);
        }
        let old = |(id, thread): &(&ThreadId, &Thread)| {
            thread.forks == 0 && last.get(id).unwrap_or(&thread.created_at) < &before
        };
        self.threads.iter().filter(old).map(|(id, _)| id.clone()).collect()
    }
}

fn shown(run: &Run) -> bool {
    !matches!(run.place, Place::Forgotten)
}

impl Store {
    pub(super) fn branch_off(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        self.shards.lock(scope).owners.get_mut(scope).map_or(Ok(None), |owner| owner.fork(fork, into, at))
    }

    pub(super) fn make_thread(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        at: Timestamp,
    ) -> Result<ThreadRecord, Error> {
        self.shards.lock(scope).owners.entry(scope.clone()).or_default().begin_thread(thread, at)
    }

    pub(super) fn delete_whole(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get_mut(scope) else { return Ok(None) };
        let deleted = owner.delete(thread)?;
        if deleted.is_some() {
            self.forget_calls(scope, &owner.take_calls(thread));
        }
        shard.drop_if_empty(scope);
        Ok(deleted)
    }

    pub(super) fn delete_owner(&self, scope: &UserScope) -> Deleted {
        let mut shard = self.shards.lock(scope);
        shard.used.forget(scope);
        let Some(owner) = shard.owners.remove(scope) else { return Deleted::default() };
        for (id, run) in &owner.runs {
            match &run.place {
                Place::Held(holder) => holder.slot.into_iter().for_each(|slot| shard.held.remove(slot)),
                Place::Asleep(Some(alarm)) => lock(&self.line).forget(*alarm),
                _ => {}
            }
            if run.is_wanted() {
                shard.wanted.remove(&(scope.clone(), id.clone()));
            }
        }
        for (name, schedule) in &owner.schedules {
            self.move_slot(scope, name, schedule.next_at, None);
        }
        self.forget_calls(scope, &owner.calls);
        lock(&self.line).leave(scope);
        self.close_account(scope, &owner.reservations);
        Deleted {
            threads: owner.threads.len() as u64,
            runs: owner.runs.values().filter(|run| shown(run)).count() as u64,
        }
    }

    pub(super) fn forget_older(&self, before: Timestamp, max: usize) -> usize {
        let mut gone = 0;
        for mut shard in self.shards.each() {
            let mut old = Vec::new();
            for (scope, owner) in &mut shard.owners {
                for thread in owner.older_than(before).iter().take(max - gone) {
                    owner.remove_thread(thread);
                    self.forget_calls(scope, &owner.take_calls(thread));
                    gone += 1;
                }
                if owner.is_empty() {
                    old.push(scope.clone());
                }
            }
            old.iter().for_each(|scope| shard.drop_if_empty(scope));
        }
        gone
    }

    /// The runs that are still to be claimed of this thread, for the one whose turn comes.
    pub(super) fn end_turn(&self, scope: &UserScope, owner: &mut Owner, thread: &ThreadId, run: &RunId) {
        let Some(thread) = owner.threads.get_mut(thread) else { return };
        if let Some(place) = thread.turns.iter().position(|other| other == run) {
            thread.turns.remove(place);
        }
        let Some(next) = thread.turns.front().cloned() else { return };
        if owner.runs.get(&next).is_some_and(|next| matches!(next.place, Place::Blocked)) {
            self.begin(scope, owner, &next);
        }
    }
}
