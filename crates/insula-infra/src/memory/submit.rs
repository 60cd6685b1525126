//! Taking a run into the queue: what is known already, what is refused, and whose turn it waits for.

use std::sync::Arc;

use insula_context::{CancelReason, RunId, UserScope};

use super::{
    owner::{Owner, Place},
    store::{Shard, Store},
};
use crate::{Error, NewRun, RunHeader, Submitted, ThreadPolicy};

impl Store {
    /// Checks, and puts the run where it belongs. Nothing has changed when it fails.
    pub(super) fn enqueue(&self, run: NewRun, key: Option<&str>) -> Result<Submitted, Error> {
        let header = Arc::clone(&run.header);
        let mut shard = self.shards.lock(&header.scope);
        if let Some(known) = shard.owners.get(&header.scope).and_then(|owner| owner.of_key(key?)) {
            return Ok(known);
        }
        // A child waits for nobody, and nobody for it.
        let policy = run.policy.filter(|_| header.parent.is_none());
        let before = match shard.owners.get_mut(&header.scope) {
            Some(owner) => {
                owner.wishes.forget(self.clock.now());
                owner.refuse(&run, policy)?;
                owner.under_way(&header)
            }
            None => Vec::new(),
        };
        self.take_in(&mut shard, run, policy, key)?;
        if let Some(policy) = policy {
            self.line_up(&mut shard, &header, policy, &before);
        }
        self.place(&mut shard, &header, policy.is_some() && !before.is_empty());
        Ok(Submitted::New)
    }

    fn take_in(
        &self,
        shard: &mut Shard,
        new: NewRun,
        policy: Option<ThreadPolicy>,
        key: Option<&str>,
    ) -> Result<(), Error> {
        let (header, weight) = (Arc::clone(&new.header), new.weight);
        let owner = shard.owners.entry(header.scope.clone()).or_default();
        let run = owner.admit(new, key)?;
        run.submitted = policy.is_some();
        owner.share.weight = weight;
        owner.share.unclaimed += usize::from(policy.is_some());
        Ok(())
    }

    /// Takes a place behind those that are under way in the thread, and stops them if the policy says so.
    fn line_up(&self, shard: &mut Shard, header: &RunHeader, policy: ThreadPolicy, before: &[RunId]) {
        let Some(owner) = shard.owners.get_mut(&header.scope) else { return };
        if let Some(thread) = owner.threads.get_mut(&header.thread) {
            thread.turns.push_back(header.run.clone());
        }
        // A run that is to stop before it begins takes nobody's place.
        if owner.wishes.of(&header.run).is_some() || matches!(policy, ThreadPolicy::Enqueue | ThreadPolicy::Reject) {
            return;
        }
        for id in before {
            self.replace(shard, &header.scope, id, (policy, &header.run));
        }
    }

    fn replace(&self, shard: &mut Shard, scope: &UserScope, id: &RunId, (policy, by): (ThreadPolicy, &RunId)) {
        let run = shard.owners.get_mut(scope).and_then(|owner| owner.runs.get_mut(id));
        if let Some(run) = run {
            run.record.rolled_back |= policy == ThreadPolicy::Rollback;
        }
        self.ask_to_stop(
            shard,
            scope,
            id,
            CancelReason::new("policy", format!("run {by} took its place in the thread")),
        );
    }

    /// A run that somebody has stopped ahead is to be claimed at once; another waits for its turn and its time.
    fn place(&self, shard: &mut Shard, header: &RunHeader, waits: bool) {
        let Some(owner) = shard.owners.get_mut(&header.scope) else { return };
        if let Some(reason) = owner.wishes.take(&header.run) {
            self.ask_to_stop(shard, &header.scope, &header.run, reason);
        } else if !waits {
            self.begin(&header.scope, owner, &header.run);
        } else if let Some(run) = owner.runs.get_mut(&header.run) {
            run.place = Place::Blocked;
        }
    }
}

impl Owner {
    /// The run that this key has made.
    fn of_key(&self, key: &str) -> Option<Submitted> {
        let known = self.runs.get(self.keys.get(key)?)?;
        Some(Submitted::Known(Box::new(known.record.clone())))
    }

    /// The submitted runs of a thread that have not ended.
    fn under_way(&self, header: &RunHeader) -> Vec<RunId> {
        let thread = self.threads.get(&header.thread);
        thread.map(|thread| thread.turns.iter().cloned().collect()).unwrap_or_default()
    }

    fn refuse(&self, run: &NewRun, policy: Option<ThreadPolicy>) -> Result<(), Error> {
        let header = &run.header;
        if self.runs.contains_key(&header.run) {
            return Err(Error::RunExists { run: header.run.clone() });
        }
        if let Some(limit) = run.most_queued.filter(|limit| self.share.unclaimed >= *limit) {
            return Err(Error::QueueFull { limit });
        }
        let busy = self.threads.get(&header.thread).and_then(|thread| thread.turns.front());
        match busy {
            Some(busy) if policy == Some(ThreadPolicy::Reject) => {
                Err(Error::ThreadBusy { thread: header.thread.clone(), run: busy.clone() })
            }
            _ => Ok(()),
        }
    }
}
