//! One run's way into the log: what is said is gathered, written in order, and awaited only where somebody outside is
//! about to see an effect.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_context::{Clock, Timestamp};
use insula_infra::{
    Append, Commit, Error, EventType, Lease, NewEvent, NewQuestion, NewRun, Payload, RunChange, RunQueue, Spent,
};
use serde::Serialize;

use crate::events::{self, Saying};

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
    /// What creates the run. It stays until that is durable: a run that was stopped before is created by another write.
    create: Option<(NewRun, Duration)>,
    /// Whether the write that creates the run is on its way.
    creating: bool,
    /// What the next write makes of the run, unless it ends it.
    change: Option<RunChange>,
    events: Vec<NewEvent>,
    payloads: Vec<Payload>,
    spent: Vec<Spent>,
    asks: Vec<NewQuestion>,
    closes: Vec<u32>,
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
    /// After this only what ends the run here may be written.
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

    /// As [`Journal::say`], with a large value beside it and a change of the open calls. Says whether it was taken: a
    /// journal that is closed takes nothing.
    pub(crate) fn add(&self, event: NewEvent, payload: Option<Payload>, change: impl FnOnce(&mut Vec<Open>)) -> bool {
        self.add_all(vec![(event, payload)], None, change)
    }

    /// Says that something is asked, and opens the question with the same write.
    pub(crate) fn ask(&self, event: NewEvent, question: NewQuestion) {
        let mut pending = self.pending();
        if !pending.closed {
            pending.asks.push(question);
            pending.push(event, None);
        }
    }

    /// Says several things that are one fact: they are in the same write, and with them the end of a question. Says
    /// whether they were taken.
    pub(crate) fn add_all(&self, said: Vec<Saying>, closes: Option<u32>, change: impl FnOnce(&mut Vec<Open>)) -> bool {
        self.settle(said, closes, None, change)
    }

    /// As [`Journal::add_all`], with what a call has cost.
    pub(crate) fn settle(
        &self,
        said: Vec<Saying>,
        closes: Option<u32>,
        spent: Option<Spent>,
        change: impl FnOnce(&mut Vec<Open>),
    ) -> bool {
        let mut pending = self.pending();
        let open = !pending.closed;
        if open {
            change(&mut pending.open);
            said.into_iter().for_each(|(event, payload)| pending.push(event, payload));
            pending.closes.extend(closes);
            pending.spent.extend(spent);
        }
        open
    }

    /// Says what comes after the agent: also to a journal that is closed.
    pub(crate) fn add_last(&self, event: NewEvent) {
        self.pending().push(event, None);
    }

    /// How many events the run has, those included that wait to be written.
    pub(crate) fn said(&self) -> u64 {
        self.pending().said
    }

    /// Whether nothing was said through this journal.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.pending().touched
    }

    /// The right to write.
    pub(crate) const fn lease(&self) -> &Lease {
        &self.lease
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
        let creates = pending.create.is_some() && !pending.creating;
        pending.change = (!creates).then_some(RunChange::Running);
    }

    /// Hands everything said so far to the store, without waiting for it.
    pub(crate) fn flush(&self) {
        let mut pending = self.pending();
        if !pending.events.is_empty() {
            self.hand_over(&mut pending, None);
        }
    }

    fn hand_over(&self, pending: &mut Pending, change: Option<RunChange>) {
        // A write without events that was lost would not be missed by the store.
        if pending.failed.is_some() {
            return;
        }
        let next = pending.change.take();
        let create = if pending.creating { None } else { pending.create.clone() };
        let append = Append {
            create,
            asks: std::mem::take(&mut pending.asks),
            closes: std::mem::take(&mut pending.closes),
            events: std::mem::take(&mut pending.events),
            change: change.or(next),
            payloads: std::mem::take(&mut pending.payloads),
            spent: std::mem::take(&mut pending.spent),
            ..Append::new(self.lease.clone(), pending.handed)
        };
        pending.handed = pending.said;
        let creates = append.create.is_some();
        pending.creating |= creates;
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
        let mut pending = self.pending();
        if pending.creating {
            pending.create = None;
        }
        Ok(())
    }

    /// Refuses everything but the end from now on, and says which calls are still open.
    pub(crate) fn close(&self) -> Vec<Open> {
        let mut pending = self.pending();
        pending.closed = true;
        std::mem::take(&mut pending.open)
    }

    /// As [`Journal::close`], if `what` is still there. Nothing is said between the look and the closing.
    pub(crate) fn close_if<T>(&self, what: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut pending = self.pending();
        let found = what()?;
        pending.closed = true;
        Some(found)
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.pending().closed
    }

    /// Takes back everything that was said of a run that could not be created, so that another write may create it.
    pub(crate) fn begin_again(&self) {
        let mut pending = self.pending();
        let create = pending.create.take();
        *pending = Pending { create, touched: true, ..Pending::default() };
    }

    /// Writes the end: the events that are owed and the terminal one, with what they make of the run. Returns at once; a
    /// following [`Journal::commit`] waits for it.
    pub(crate) fn end(&self, last: Vec<NewEvent>, payload: Option<Payload>, change: RunChange) {
        let mut pending = self.pending();
        pending.closed = true;
        last.into_iter().for_each(|event| pending.push(event, None));
        pending.touched = true;
        pending.payloads.extend(payload);
        self.hand_over(&mut pending, Some(change));
    }
}

impl Pending {
    fn push(&mut self, mut event: NewEvent, payload: Option<Payload>) {
        event.at = self.last_at.map_or(event.at, |last| last.max(event.at));
        self.last_at = Some(event.at);
        self.said += 1;
        self.touched = true;
        self.events.push(event);
        self.payloads.extend(payload);
    }
}
