//! One write to a run, whole or not at all.

use std::{collections::HashSet, sync::Arc, time::Duration};

use insula_context::{CancelReason, RunId, Timestamp, UserScope};

use super::{
    arrivals::Arrivals,
    held::Held,
    line::RunKey,
    owner::{Holder, Owner, Place, Run},
    store::{Shard, Store},
    thread::{Logged, Thread},
};
use crate::{
    Append, Committed, Error, EventType, NewEvent, NewQuestion, NewRun, RunChange, RunHeader, RunRecord, RunStatus,
};

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
        let ends = append.change.as_ref().and_then(RunChange::terminal_event).is_some();
        let cancelled = match &append.change {
            Some(RunChange::Cancelled(reason)) => Some(reason.clone()),
            _ => None,
        };
        let head = self.extend(&mut shard, append)?;
        if ends {
            self.stop_children(&mut shard, &header, cancelled);
        }
        if self.retain == 0 {
            shard.drop_if_empty(&header.scope);
        }
        Ok(Committed { head })
    }

    fn create(&self, shard: &mut Shard, new: NewRun, lease: Duration, append: &Append) -> Result<(), Error> {
        let ends = append.change.as_ref().is_some_and(|change| change.status().is_terminal());
        let obeys = matches!(append.change, Some(RunChange::Cancelled(_)));
        let started_at = append.events.first().map_or(new.created_at, |event| event.at);
        let header = Arc::clone(&append.lease.header);
        let Shard { owners, held, .. } = shard;
        let owner = owners.entry(header.scope.clone()).or_default();
        if !owner.wishes.is_empty() {
            owner.refuse_stopped(&header.run, self.clock.now(), obeys)?;
        }
        let run = owner.admit(new, None)?;
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
        let Append { lease, after, events, change, payloads, asks, closes, spent, .. } = append;
        let header = &lease.header;
        let stale = || Error::StaleLease { run: header.run.clone(), held: lease.token };
        let Shard { owners, held, wanted, used, .. } = shard;
        let owner = owners.get_mut(&header.scope).ok_or_else(stale)?;
        let run = owner.runs.get_mut(&header.run).ok_or_else(stale)?;
        run.refuse_stale(&lease)?;
        if run.record.events != after {
            return Err(Error::OutOfOrder { run: header.run.clone(), given: after, found: run.record.events });
        }
        let thread = owner.threads.get_mut(&run.record.header.thread).ok_or_else(stale)?;
        run.payloads.extend(payloads.iter().map(|payload| owner.payloads.keep(payload)));
        if run.record.started_at.is_none() {
            let started = events.iter().find(|event| event.kind == EventType::AgentStarted);
            run.record.started_at = started.map(|event| event.at);
        }
        write_events(run, thread, events);
        let head = thread.head();
        if !(asks.is_empty() && closes.is_empty()) {
            keep_questions(run, (&mut owner.questions, wanted), asks, &closes);
        }
        if !spent.is_empty() {
            self.settle(&header.scope, &mut owner.reservations, &header.run, &spent);
            let at = if run.record.events == 0 { self.clock.now() } else { run.last_at };
            used.count_spent(&run.record, at, &spent);
        }
        match change {
            None => {}
            Some(RunChange::Queued) => (run.record.status, run.record.started_at) = (RunStatus::Queued, None),
            Some(RunChange::Running) => {
                (run.record.status, run.record.waits_for) = (RunStatus::Running, None);
                run.record.started_at.get_or_insert_with(|| self.clock.now());
            }
            Some(RunChange::HandedOver) => {
                leave(run, held, Place::Asleep(None));
                self.make_room_of(owner, header);
                self.make_ready(&header.scope, owner, &header.run);
            }
            Some(RunChange::Waiting { reason, until, children }) => {
                leave(run, held, Place::Asleep(None));
                (run.record.status, run.record.waits_for) = (RunStatus::Waiting, Some(reason));
                self.make_room_of(owner, header);
                self.park(owner, header, until, &children);
            }
            Some(end) => {
                leave(run, held, Place::Ended);
                if run.is_wanted() {
                    wanted.remove(&(header.scope.clone(), header.run.clone()));
                }
                if !run.questions.is_empty() {
                    run.close_all(&mut owner.questions);
                }
                summarise(&mut run.record, run.last_at, end);
                used.count_end(&run.record);
                if !owner.calls.is_empty() {
                    self.ring(&mut owner.calls, &run.record);
                }
                // A run that nobody waits for, as most are, pays for none of this.
                if run.submitted || run.record.header.parent.is_some() || !owner.reservations.is_empty() {
                    self.wake_others(owner, header);
                }
                owner.ended.push_back(header.run.clone());
                owner.forget_beyond(self.retain);
            }
        }
        Ok(head)
    }

    /// A run that was submitted leaves the place that it took.
    fn make_room_of(&self, owner: &mut Owner, header: &RunHeader) {
        if owner.runs.get(&header.run).is_some_and(|run| run.submitted) {
            self.give_room(&header.scope, owner);
        }
    }

    /// A run sleeps, unless what it waits for is there already.
    fn park(&self, owner: &mut Owner, header: &RunHeader, until: Option<Timestamp>, children: &[RunId]) {
        let wanted = owner.runs.get(&header.run).is_some_and(Run::is_wanted);
        // A child that is not there any more has ended too, and was forgotten.
        let ended = |child: &RunId| owner.runs.get(child).is_none_or(Run::has_ended);
        if wanted || children.iter().any(ended) {
            self.make_ready(&header.scope, owner, &header.run);
        } else if let Some(at) = until {
            self.set_alarm(&header.scope, owner, &header.run, at);
        }
    }

    /// What the end of a run means for those who wait for it.
    fn wake_others(&self, owner: &mut Owner, header: &RunHeader) {
        let Some(run) = owner.runs.get(&header.run) else { return };
        let (submitted, header) = (run.submitted, Arc::clone(&run.record.header));
        if submitted {
            self.give_room(&header.scope, owner);
            self.end_turn(&header.scope, owner, &header.thread, &header.run);
        }
        if let Some(parent) = &header.parent {
            self.wake_parent(owner, &header.scope, parent);
        }
        self.give_back(&header.scope, &mut owner.reservations, &header.run);
    }

    fn wake_parent(&self, owner: &mut Owner, scope: &UserScope, parent: &RunId) {
        owner.runs.get_mut(parent).into_iter().for_each(|parent| parent.children = parent.children.saturating_sub(1));
        if owner.runs.get(parent).is_some_and(|parent| parent.record.status == RunStatus::Waiting) {
            self.wake(scope, owner, parent);
        }
    }
}

impl Store {
    /// Nobody waits any more for the children of a run that has ended.
    fn stop_children(&self, shard: &mut Shard, header: &RunHeader, cancelled: Option<CancelReason>) {
        let Some(owner) = shard.owners.get(&header.scope) else { return };
        if owner.runs.get(&header.run).is_none_or(|run| run.children == 0) {
            return;
        }
        let open = owner.runs.values().filter(|run| !run.has_ended());
        let children: Vec<_> = open
            .map(|run| &run.record.header)
            .filter(|child| child.parent.as_ref() == Some(&header.run))
            .map(|child| child.run.clone())
            .collect();
        let reason = cancelled.unwrap_or_else(RunChange::orphaned);
        for child in children {
            self.ask_to_stop(shard, &header.scope, &child, reason.clone());
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

/// Closes and opens questions. An answer that was taken is no news any more.
fn keep_questions(
    run: &mut Run,
    (open, wanted): (&mut Arrivals<(RunId, u32)>, &mut HashSet<RunKey>),
    asks: Vec<NewQuestion>,
    closes: &[u32],
) {
    let was_wanted = run.is_wanted();
    run.close(open, closes);
    run.ask(open, asks);
    if was_wanted && !run.is_wanted() {
        wanted.remove(&(run.record.header.scope.clone(), run.record.header.run.clone()));
    }
}

/// Gives the lease back.
fn leave(run: &mut Run, held: &mut Held, place: Place) {
    if let Place::Held(Holder { slot: Some(slot), .. }) = std::mem::replace(&mut run.place, place) {
        held.remove(slot);
    }
}

fn summarise(record: &mut RunRecord, at: Timestamp, end: RunChange) {
    record.status = end.status();
    record.waits_for = None;
    record.ended_at = Some(at);
    match end {
        RunChange::Completed { result } => record.result = Some(result),
        RunChange::Failed(failure) => record.failure = Some(failure),
        RunChange::Cancelled(reason) => record.cancel = Some(reason),
        RunChange::Queued | RunChange::Running | RunChange::Waiting { .. } | RunChange::HandedOver => {}
    }
}
