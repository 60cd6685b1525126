//! One run's way into the log: what is said is gathered, written in order, and awaited only where somebody outside is
//! about to see an effect.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_context::{Clock, Timestamp};
use insula_infra::{Append, Commit, Error, EventType, Lease, NewEvent, NewRun, Payload, RunChange, RunQueue, Spent};
use serde::Serialize;

use crate::events;

/// The journal of one run. All of it goes through one lease.
pub(crate) struct Journal {
    queue: Arc<dyn RunQueue>,
    clock: Arc<dyn Clock>,
    lease: Lease,
    pending: Mutex<Pending>,
    /// Commits that are awaited. Held meanwhile, so that whoever comes second waits for the same ones.
    committing: tokio::sync::Mutex<VecDeque<Commit>>,
}

#[derive(Default)]
struct Pending {
    create: Option<(NewRun, Duration)>,
    /// What the next write makes of the run, unless it ends it.
    change: Option<RunChange>,
    events: Vec<NewEvent>,
    payloads: Vec<Payload>,
    spent: Vec<Spent>,
    /// Events that were handed to the store.
    handed: u64,
    /// Events that were handed to the store or wait here.
    said: u64,
    /// Whether anything was said through this journal.
    touched: bool,
    /// The write that creates the run: why that one failed is why all others do.
    created: Option<Commit>,
    last: Option<Commit>,
    last_at: Option<Timestamp>,
    /// Calls whose guard is open, oldest first.
    open: Vec<Open>,
    failed: Option<Error>,
    /// After this only the end may be written.
    closed: bool,
}

/// A tool call whose `tool_completed` is owed.
#[derive(Clone)]
pub(crate) struct Open {
    pub(crate) id: String,
    pub(crate) tool: String,
    pub(crate) index: u32,
    pub(crate) since: Timestamp,
}

impl Open {
    pub(crate) fn new(index: u32, tool: &str, since: Timestamp) -> Self {
        Self { id: format!("c{index}"), tool: tool.to_owned(), index, since }
    }

    /// As [`Open::new`], for a call that had its end in an earlier attempt of its run.
    pub(crate) fn in_attempt(attempt: u32, index: u32, tool: &str, since: Timestamp) -> Self {
        Self { id: format!("c{index}.{attempt}"), tool: tool.to_owned(), index, since }
    }
}

impl Journal {
    /// The journal of a run that is created by its first write.
    pub(crate) fn create(
        queue: Arc<dyn RunQueue>,
        clock: Arc<dyn Clock>,
        lease: Lease,
        run: NewRun,
        life: Duration,
    ) -> Self {
        let pending = Pending { create: Some((run, life)), ..Pending::default() };
        Self { queue, clock, lease, pending: Mutex::new(pending), committing: tokio::sync::Mutex::default() }
    }

    /// The journal of a run that exists and has `events` events, and calls that are still open.
    pub(crate) fn resume(
        queue: Arc<dyn RunQueue>,
        clock: Arc<dyn Clock>,
        lease: Lease,
        events: u64,
        open: Vec<Open>,
    ) -> Self {
        let pending = Pending { handed: events, said: events, open, ..Pending::default() };
        Self { queue, clock, lease, pending: Mutex::new(pending), committing: tokio::sync::Mutex::default() }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says something. It is written with the next flush.
    pub(crate) fn say(&self, kind: EventType, data: &impl Serialize) {
        let event = events::event(kind, self.clock.now(), data);
        self.add(event, None, |_| {});
    }

    /// As [`Journal::say`], with a large value beside it and a change of the open calls.
    pub(crate) fn add(&self, event: NewEvent, payload: Option<Payload>, change: impl FnOnce(&mut Vec<Open>)) {
        self.add_all(std::iter::once(event), payload, None, change);
    }

    /// As [`Journal::add`], with what a call has cost: all of it is written together or not at all.
    pub(crate) fn add_all(
        &self,
        events: impl Iterator<Item = NewEvent>,
        payload: Option<Payload>,
        spent: Option<Spent>,
        change: impl FnOnce(&mut Vec<Open>),
    ) {
        let mut pending = self.pending();
        if pending.closed {
            return;
        }
        change(&mut pending.open);
        for mut event in events {
            event.at = pending.last_at.map_or(event.at, |last| last.max(event.at));
            pending.last_at = Some(event.at);
            pending.said += 1;
            pending.touched = true;
            pending.events.push(event);
        }
        pending.payloads.extend(payload);
        pending.spent.extend(spent);
    }

    /// How many events the run has, those included that wait to be written.
    pub(crate) fn said(&self) -> u64 {
        self.pending().said
    }

    /// Whether nothing was said through this journal.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.pending().touched
    }

    /// Whether something went wrong with an earlier write. Nothing more will be written then.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.pending().failed.clone()
    }

    /// The run waits in line: its row says so from the next write on.
    pub(crate) fn stands_in_line(&self) {
        self.pending().change = Some(RunChange::Queued);
    }

    /// The run begins. A row that is still to be created says so by itself.
    pub(crate) fn begins(&self) {
        let mut pending = self.pending();
        pending.change = pending.create.is_none().then_some(RunChange::Running);
    }

    /// Hands everything said so far to the store, without waiting for it.
    pub(crate) fn flush(&self) {
        let mut pending = self.pending();
        if !pending.events.is_empty() {
            self.hand_over(&mut pending, None);
        }
    }

    fn hand_over(&self, pending: &mut Pending, change: Option<RunChange>) {
        let next = pending.change.take();
        let append = Append {
            create: pending.create.take(),
            events: std::mem::take(&mut pending.events),
            change: change.or(next),
            payloads: std::mem::take(&mut pending.payloads),
            spent: std::mem::take(&mut pending.spent),
            ..Append::new(self.lease.clone(), pending.handed)
        };
        pending.handed = pending.said;
        let creates = append.create.is_some();
        let commit = Some(self.queue.append(append));
        // An earlier commit need not be kept: this one fails if that one did.
        *(if creates { &mut pending.created } else { &mut pending.last }) = commit;
    }

    /// Hands everything over and waits until it is durable.
    ///
    /// Cancellation safe: what was handed over is written all the same.
    pub(crate) async fn commit(&self) -> Result<(), Error> {
        let mut awaited = self.committing.lock().await;
        self.flush();
        {
            let mut pending = self.pending();
            if let Some(error) = &pending.failed {
                return Err(error.clone());
            }
            let commits = [pending.created.take(), pending.last.take()];
            awaited.extend(commits.into_iter().flatten());
        }
        // They stay until they are answered, so that a dropped call leaves none behind that nobody waits for.
        while let Some(commit) = awaited.front_mut() {
            let answer = commit.await;
            awaited.pop_front();
            answer.inspect_err(|error| self.pending().failed = Some(error.clone()))?;
        }
        Ok(())
    }

    /// Refuses everything but the end from now on, and says which calls are still open.
    pub(crate) fn close(&self) -> Vec<Open> {
        let mut pending = self.pending();
        pending.closed = true;
        std::mem::take(&mut pending.open)
    }

    /// Writes the end: the events that are owed and the terminal one, with what they make of the run. Returns at once; a
    /// following [`Journal::commit`] waits for it.
    pub(crate) fn end(&self, last: Vec<NewEvent>, payload: Option<Payload>, change: RunChange) {
        let mut pending = self.pending();
        (pending.closed, pending.touched) = (true, true);
        pending.said += last.len() as u64;
        let not_before = pending.last_at;
        let at = |mut event: NewEvent| {
            event.at = not_before.map_or(event.at, |last| last.max(event.at));
            event
        };
        pending.events.extend(last.into_iter().map(at));
        pending.payloads.extend(payload);
        self.hand_over(&mut pending, Some(change));
    }
}
