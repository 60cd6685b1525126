//! One write to a run, whole or not at all.

use std::{sync::Arc, time::Duration};

use insula_context::{RunId, Timestamp, UserScope};

use super::{
    held::Held,
    owner::{Holder, Logged, Owner, Place, Run, Thread},
    store::{Shard, Store},
};
use crate::{Append, Committed, Error, NewEvent, NewRun, RunChange, RunRecord, RunStatus};

impl Store {
    /// Checks, creates if wanted, writes. Nothing has changed when it fails.
    pub(super) fn write(&self, mut append: Append) -> Result<Committed, Error> {
        append.check()?;
        let create = append.create.take();
        let header = Arc::clone(&append.lease.header);
        let mut shard = self.shards.lock(&header.scope);
        if let Some((new, lease)) = create {
            self.create(&mut shard, new, lease, &append)?;
        }
        let head = self.extend(&mut shard, append)?;
        if self.retain == 0 {
            shard.drop_if_empty(&header.scope);
        }
        Ok(Committed { head })
    }

    fn create(&self, shard: &mut Shard, new: NewRun, lease: Duration, append: &Append) -> Result<(), Error> {
        let ends = append.change.as_ref().is_some_and(|change| change.status().is_terminal());
        let started_at = append.events.first().map_or(new.created_at, |event| event.at);
        let header = Arc::clone(&append.lease.header);
        let Shard { owners, held, .. } = shard;
        let run = owners.entry(header.scope.clone()).or_default().admit(new, None)?;
        // A run that ends in the write that creates it is never held: it pays neither for the clock nor for a slot.
        let (until, slot) = if ends {
            (started_at, None)
        } else {
            let until = self.clock.now().plus(lease);
            (until, Some(held.insert(header, until)))
        };
        run.token = 1;
        run.place = Place::Held(Holder { worker: append.lease.worker.clone(), until, slot });
        run.record.status = RunStatus::Running;
        run.record.started_at = Some(started_at);
        Ok(())
    }

    fn extend(&self, shard: &mut Shard, append: Append) -> Result<u64, Error> {
        let Append { lease, after, events, change, payloads, .. } = append;
        let header = &lease.header;
        let stale = || Error::StaleLease { run: header.run.clone(), held: lease.token };
        let owner = shard.owners.get_mut(&header.scope).ok_or_else(stale)?;
        let run = owner.runs.get_mut(&header.run).ok_or_else(stale)?;
        run.refuse_stale(lease.token)?;
        if run.record.events != after {
            return Err(Error::OutOfOrder { run: header.run.clone(), given: after, found: run.record.events });
        }
        let thread = owner.threads.get_mut(&run.record.header.thread).ok_or_else(stale)?;
        run.payloads.extend(payloads.iter().map(|payload| owner.payloads.keep(payload)));
        write_events(run, thread, events);
        let head = thread.head();
        match change {
            None => {}
            Some(RunChange::Waiting { until, .. }) => {
                leave(run, &mut shard.held, Place::Asleep(None));
                run.record.status = RunStatus::Waiting;
                self.park(&header.scope, owner, &header.run, until);
            }
            Some(RunChange::Queued) => (run.record.status, run.record.started_at) = (RunStatus::Queued, None),
            Some(RunChange::Running) => {
                run.record.status = RunStatus::Running;
                run.record.started_at.get_or_insert_with(|| self.clock.now());
            }
            Some(end) => {
                leave(run, &mut shard.held, Place::Ended);
                if run.record.cancel.is_some() {
                    shard.stopping.remove(&(header.scope.clone(), header.run.clone()));
                }
                summarise(&mut run.record, run.last_at, end);
                owner.ended.push_back(header.run.clone());
                owner.forget_beyond(self.retain);
            }
        }
        Ok(head)
    }

    fn park(&self, scope: &UserScope, owner: &mut Owner, run: &RunId, until: Option<Timestamp>) {
        let asked_to_stop = owner.runs.get(run).is_some_and(|run| run.record.cancel.is_some());
        match until {
            _ if asked_to_stop => self.make_ready(scope, owner, run),
            Some(at) => self.set_alarm(scope, owner, run, at),
            None => {}
        }
    }
}

fn write_events(run: &mut Run, thread: &mut Thread, events: Vec<NewEvent>) {
    if events.is_empty() {
        return;
    }
    let first = thread.head() + 1;
    run.record.events += events.len() as u64;
    thread.log.extend(events.into_iter().map(|event| {
        let at = event.at.max(run.last_at);
        run.last_at = at;
        let header = Arc::clone(&run.record.header);
        Logged { kind: event.kind, at, data: event.data, journal: event.journal, header }
    }));
    run.span = Some((run.span.map_or(first, |(first, _)| first), thread.head()));
}

/// Gives the lease back.
fn leave(run: &mut Run, held: &mut Held, place: Place) {
    if let Place::Held(Holder { slot: Some(slot), .. }) = std::mem::replace(&mut run.place, place) {
        held.remove(slot);
    }
}

fn summarise(record: &mut RunRecord, at: Timestamp, end: RunChange) {
    record.status = end.status();
    record.ended_at = Some(at);
    match end {
        RunChange::Completed { result } => record.result = Some(result),
        RunChange::Failed(failure) => record.failure = Some(failure),
        RunChange::Cancelled(reason) => record.cancel = Some(reason),
        RunChange::Queued | RunChange::Running | RunChange::Waiting { .. } | RunChange::HandedOver => {}
    }
}
