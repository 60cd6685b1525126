//! One write to a run, whole or not at all.
//!
//! Whatever can be refused is refused before anything is written, so a refusal does not touch its neighbours in the
//! transaction. A run that is created and ended by the same append is written once, in its final state.

use insula_context::Timestamp;
use insula_infra::{
    Append, Committed, Error, EventType, LocalSignals, NewRun, RunChange, RunStatus, Signals, UsageRow, WaitFor,
    chunk::{self, Chunk},
};
use rusqlite::{OptionalExtension, params};
use tokio::sync::oneshot;

use crate::{
    after::{self, After},
    ahead, budgets,
    error::Stop,
    payloads,
    questions::{self, Counts},
    rows::{self, Place, Span, Standing, Thread},
    transaction::{Owner, Tx},
    usage::{self, Ended},
    webhooks,
    writer::Job,
};

/// A mark is kept for every so many events of a thread.
pub(crate) const MARK_EVERY: u64 = 64;

/// An append on its way to the writer.
pub(crate) struct Writing {
    /// Without its events, which stand in the chunk.
    append: Append,
    chunk: Option<Chunk>,
    /// When the run began, if one of the events says so.
    started: Option<Timestamp>,
    now: Timestamp,
    answer: Option<Result<Committed, Error>>,
    sender: oneshot::Sender<Result<Committed, Error>>,
    counters: std::sync::Arc<crate::writer::Counters>,
}

impl Writing {
    /// Encodes the events and frees them here, on the caller's thread: the writer's is the one that everybody waits for.
    pub(crate) fn new(
        mut append: Append,
        now: Timestamp,
        sender: oneshot::Sender<Result<Committed, Error>>,
        counters: std::sync::Arc<crate::writer::Counters>,
    ) -> Self {
        let chunk = Chunk::encode(&append.events, i64::MIN);
        let started = append.events.iter().find(|event| event.kind == EventType::AgentStarted).map(|event| event.at);
        append.events = Vec::new();
        Self { append, chunk, started, now, answer: None, sender, counters }
    }
}

impl Job for Writing {
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.answer = Some(match self.write(tx) {
            Ok(head) => Ok(Committed { head }),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(error)) => return Err(error),
        });
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, signals: &LocalSignals) {
        let Self { append, chunk, answer, sender, counters, .. } = *self;
        let missing = || Err(Error::Unavailable { operation: "append", component: "the SQLite writer", source: None });
        let answer = outcome.and_then(|()| answer.unwrap_or_else(missing));
        if let Ok(committed) = &answer {
            counters.count_append();
            if chunk.is_some() {
                signals.advanced(&append.lease.header.scope, &append.lease.header.thread, committed.head);
            }
        }
        // Whoever has gone away loses the answer and not the append.
        let _gone = sender.send(answer);
    }
}

pub(crate) const FIND_RUN: &str =
    "SELECT r.run_no, r.place, r.token, r.events, r.first_pos, r.last_pos, r.last_at, r.cancel_by IS NOT NULL,
            t.thread_no, t.head, t.last_pos, t.last_run, r.asked, r.answered, r.in_turn, r.worker IS ?3,
            r.started_at
     FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.owner_no = ?1 AND r.run_id = ?2";
pub(crate) const EXTEND_RUN: &str =
    "UPDATE runs SET events = ?2, first_pos = ?3, last_pos = ?4, last_at = ?5 WHERE run_no = ?1";
pub(crate) const LEAVE_RUN: &str =
    "UPDATE runs SET events = ?2, first_pos = ?3, last_pos = ?4, last_at = ?5, status = ?6, place = ?7, due_at = ?8,
        worker = NULL, lease_until = NULL, ended_at = ?9, cancel_by = coalesce(?10, cancel_by),
        cancel_why = coalesce(?11, cancel_why), fail_reason = ?12, fail_message = ?13, result = ?14, waits_for = ?15,
        started_at = coalesce(started_at, ?16)
     WHERE run_no = ?1";
pub(crate) const INSERT_CHUNK: &str = "INSERT INTO log (pos, thread_no, run_no, prev_pos, first_seq, count, sum, body)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// A run as an append finds it.
struct Found {
    number: i64,
    place: Option<i64>,
    token: u64,
    span: Span,
    was_asked_to_stop: bool,
    thread: Thread,
    counts: Counts,
    in_turn: bool,
    started_at: Option<Timestamp>,
    /// Whether the writer's worker is the one that holds it: two that created a run of one id have the same token.
    is_held: bool,
}

impl Writing {
    /// The head of the thread afterwards.
    fn write(&mut self, tx: &mut Tx<'_>) -> Result<u64, Stop> {
        let scope = &self.append.lease.header.scope;
        if let Some((new, lease)) = &self.append.create {
            let owner = tx.owner_or_new(scope)?;
            return self.create(tx, owner, new, self.now.plus(*lease));
        }
        let owner = tx.owner(scope)?.ok_or_else(|| self.stale())?.number;
        let found = self.find(tx, owner)?.ok_or_else(|| self.stale())?;
        self.refuse(&found)?;
        if let Some(chunk) = self.chunk.as_ref().filter(|chunk| chunk.first_at < found.span.last_at) {
            // The clock of another machine was ahead.
            let later = chunk.not_before(found.span.last_at);
            self.chunk = Some(later.map_err(|error| tx.file.corrupt("an append", error.to_string()))?);
        }
        payloads::keep(tx, owner, found.number, &self.append.payloads)?;
        self.extend(tx, owner, found)
    }

    fn create(&self, tx: &mut Tx<'_>, mut owner: Owner, new: &NewRun, until: Timestamp) -> Result<u64, Stop> {
        let wish = ahead::wish(tx, &owner, &new.header.run, self.now)?;
        if let Some(reason) = wish.as_ref().filter(|_| !matches!(self.append.change, Some(RunChange::Cancelled(_)))) {
            return Err(Error::CancelledAhead { run: new.header.run.clone(), reason: reason.clone() }.into());
        }
        let mut thread = Thread::find_or_new(tx, owner.number, &new.header.thread)?;
        let run = tx.next_run();
        let pos = tx.next_pos();
        let span = self.span_after(Span { last_at: i64::MIN, ..Span::default() }, pos);
        let standing = self.first_standing(tx, owner.number, new, until, span)?;
        rows::insert_run(tx, run, (&owner, &thread), new, None, &standing, span)?;
        if wish.is_some() {
            ahead::fulfil(tx, &mut owner, &new.header.run)?;
        }
        thread.last_run = run;
        self.log(tx, run, pos, &mut thread)?;
        thread.keep(tx, owner, new)?;
        payloads::keep(tx, owner.number, run, new.payload.as_slice())?;
        payloads::keep(tx, owner.number, run, &self.append.payloads)?;
        webhooks::keep(tx, owner.number, run, new)?;
        let counts = self.change_questions(tx, owner.number, run, Counts::default())?;
        let after = After { owner: owner.number, run, thread: thread.number, in_turn: false, counts };
        self.follow_up(tx, &after, span, standing.started_at)?;
        Ok(thread.head)
    }

    /// How a run stands that this append creates.
    fn first_standing<'s>(
        &'s self,
        tx: &Tx<'_>,
        owner: i64,
        new: &NewRun,
        until: Timestamp,
        span: Span,
    ) -> rusqlite::Result<Standing<'s>> {
        let first_at = self.chunk.as_ref().map(|chunk| Timestamp::from_micros(chunk.first_at));
        let mut standing = Standing {
            status: RunStatus::Running.as_str(),
            place: Some(Place::Held),
            token: 1,
            worker: Some(self.append.lease.worker.as_str()),
            lease_until: Some(until),
            started_at: first_at.or(Some(new.created_at)),
            ..Standing::default()
        };
        if let Some(change) = &self.append.change {
            standing.change(change, span, self.now, after::has_ended_child(tx, owner, change)?);
        }
        Ok(standing)
    }

    fn extend(&self, tx: &mut Tx<'_>, owner: i64, found: Found) -> Result<u64, Stop> {
        let Found { number, mut thread, in_turn, .. } = found;
        let pos = tx.next_pos();
        let span = self.span_after(found.span, pos);
        self.log(tx, number, pos, &mut thread)?;
        if self.chunk.is_some() {
            tx.update_thread.execute(params![thread.number, thread.head, thread.last_pos, thread.last_run])?;
        }
        let counts = self.change_questions(tx, owner, number, found.counts)?;
        match &self.append.change {
            Some(RunChange::Running) => self.resume(tx, number, span)?,
            Some(RunChange::Queued) => self.requeue(tx, number, span)?,
            Some(RunChange::HandedOver) => self.hand_over(tx, number, span)?,
            Some(change) => {
                let has_news = found.was_asked_to_stop || counts.answered > 0;
                let mut standing = Standing { started_at: self.started, ..Standing::default() };
                standing.change(change, span, self.now, has_news || after::has_ended_child(tx, owner, change)?);
                leave(tx, number, &standing, span)?;
            }
            None => {
                let Span { events, first_pos, last_pos, last_at } = span;
                tx.extend_run.execute(params![number, events, first_pos, last_pos, last_at])?;
            }
        }
        let after = After { owner, run: number, thread: thread.number, in_turn, counts };
        self.follow_up(tx, &after, span, found.started_at.or(self.started))?;
        Ok(thread.head)
    }

    fn change_questions(&self, tx: &Tx<'_>, owner: i64, run: i64, before: Counts) -> rusqlite::Result<Counts> {
        let Append { asks, closes, .. } = &self.append;
        if asks.is_empty() && closes.is_empty() {
            return Ok(before);
        }
        questions::change(tx, (owner, run), before, asks, closes)
    }

    /// What was spent, and what the end means for others.
    fn follow_up(
        &self,
        tx: &mut Tx<'_>,
        after: &After,
        span: Span,
        started_at: Option<Timestamp>,
    ) -> rusqlite::Result<()> {
        let header = &self.append.lease.header;
        let at = if span.events == 0 { self.now } else { Timestamp::from_micros(span.last_at) };
        let end = self.append.change.as_ref().map(RunChange::status).filter(|status| status.is_terminal());
        if !self.append.spent.is_empty() {
            budgets::settle(tx, header, &self.append.spent, self.now)?;
        }
        if end.is_some() || !self.append.spent.is_empty() {
            let ended = end.map(|status| Ended { status, micros: UsageRow::micros(started_at, at) });
            usage::count(tx, (after.owner, &header.agent), at, &self.append.spent, ended)?;
        }
        if end.is_some() {
            let cancelled = match &self.append.change {
                Some(RunChange::Cancelled(reason)) => Some(reason),
                _ => None,
            };
            after.ended(tx, header, cancelled, self.now)?;
        }
        Ok(())
    }

    fn find(&self, tx: &mut Tx<'_>, owner: i64) -> rusqlite::Result<Option<Found>> {
        let read = |row: &rusqlite::Row<'_>| {
            let (head, last_pos, last_run) = (row.get(9)?, row.get(10)?, row.get(11)?);
            Ok(Found {
                number: row.get(0)?,
                place: row.get(1)?,
                token: row.get(2)?,
                span: Span { events: row.get(3)?, first_pos: row.get(4)?, last_pos: row.get(5)?, last_at: row.get(6)? },
                was_asked_to_stop: row.get(7)?,
                thread: Thread { number: row.get(8)?, head, last_pos, last_run, is_new: false },
                counts: Counts { asked: row.get(12)?, answered: row.get(13)? },
                in_turn: row.get(14)?,
                is_held: row.get(15)?,
                started_at: row.get::<_, Option<i64>>(16)?.map(Timestamp::from_micros),
            })
        };
        let lease = &self.append.lease;
        tx.find_run.query_row(params![owner, lease.header.run.as_str(), lease.worker.as_str()], read).optional()
    }

    fn refuse(&self, found: &Found) -> Result<(), Error> {
        let run = || self.append.lease.header.run.clone();
        if found.place.is_none() {
            return Err(Error::RunEnded { run: run() });
        }
        if found.place != Some(Place::Held as i64) || found.token != self.append.lease.token || !found.is_held {
            return Err(self.stale());
        }
        if found.span.events != self.append.after {
            return Err(Error::OutOfOrder { run: run(), given: self.append.after, found: found.span.events });
        }
        Ok(())
    }

    fn stale(&self) -> Error {
        Error::StaleLease { run: self.append.lease.header.run.clone(), held: self.append.lease.token }
    }

    /// Which events the run has once the chunk stands at `pos`.
    fn span_after(&self, before: Span, pos: i64) -> Span {
        let Some(chunk) = &self.chunk else { return before };
        Span {
            events: before.events + chunk.count,
            first_pos: if before.first_pos == 0 { pos } else { before.first_pos },
            last_pos: pos,
            last_at: chunk.last_at,
        }
    }

    /// Puts the chunk at the end of the log and of its thread.
    fn log(&self, tx: &mut Tx<'_>, run: i64, pos: i64, thread: &mut Thread) -> rusqlite::Result<()> {
        const MARK: &str = "INSERT INTO marks (thread_no, last_seq, pos) VALUES (?1, ?2, ?3)";
        let Some(chunk) = &self.chunk else { return Ok(()) };
        let (first, last) = (thread.head + 1, thread.head + chunk.count);
        let (previous, sum) = (thread.last_pos, chunk::checksum(&chunk.body));
        tx.insert_chunk.execute(params![pos, thread.number, run, previous, first, chunk.count, sum, chunk.body])?;
        if thread.head / MARK_EVERY != last / MARK_EVERY {
            tx.connection.prepare_cached(MARK)?.execute(params![thread.number, last, pos])?;
        }
        (thread.head, thread.last_pos) = (last, pos);
        Ok(())
    }

    fn resume(&self, tx: &Tx<'_>, run: i64, span: Span) -> rusqlite::Result<()> {
        const RESUME: &str = "UPDATE runs SET events = ?2, first_pos = ?3, last_pos = ?4, last_at = ?5,
             status = 'running', waits_for = NULL, started_at = coalesce(started_at, ?6) WHERE run_no = ?1";
        let Span { events, first_pos, last_pos, last_at } = span;
        let values = params![run, events, first_pos, last_pos, last_at, self.now.as_micros()];
        tx.connection.prepare_cached(RESUME)?.execute(values).map(|_| ())
    }
}

impl Writing {
    fn requeue(&self, tx: &Tx<'_>, run: i64, span: Span) -> rusqlite::Result<()> {
        const REQUEUE: &str = "UPDATE runs SET events = ?2, first_pos = ?3, last_pos = ?4, last_at = ?5,
             status = 'queued', waits_for = NULL, started_at = NULL WHERE run_no = ?1";
        let Span { events, first_pos, last_pos, last_at } = span;
        tx.connection.prepare_cached(REQUEUE)?.execute(params![run, events, first_pos, last_pos, last_at]).map(|_| ())
    }

    fn hand_over(&self, tx: &Tx<'_>, run: i64, span: Span) -> rusqlite::Result<()> {
        const HAND_OVER: &str = "UPDATE runs SET events = ?2, first_pos = ?3, last_pos = ?4, last_at = ?5, place = 1,
             due_at = ?6, worker = NULL, lease_until = NULL WHERE run_no = ?1";
        let Span { events, first_pos, last_pos, last_at } = span;
        let values = params![run, events, first_pos, last_pos, last_at, self.now.as_micros()];
        tx.connection.prepare_cached(HAND_OVER)?.execute(values).map(|_| ())
    }
}

impl<'a> Standing<'a> {
    /// What a change makes of it. `has_news` says whether a run that parks would be woken at once.
    fn change(&mut self, change: &'a RunChange, span: Span, now: Timestamp, has_news: bool) {
        self.status = change.status().as_str();
        if matches!(change, RunChange::Running) {
            return;
        }
        if matches!(change, RunChange::Queued) {
            self.started_at = None;
            return;
        }
        (self.place, self.worker, self.lease_until) = (None, None, None);
        match change {
            RunChange::Waiting { reason, until, .. } => {
                self.waits_for = Some(*reason);
                self.place = Some(if has_news { Place::Ready } else { Place::Asleep });
                self.due_at = if has_news { Some(now) } else { *until };
                return;
            }
            RunChange::HandedOver => {
                (self.place, self.due_at) = (Some(Place::Ready), Some(now));
                return;
            }
            RunChange::Completed { result } => self.result = Some(result.get()),
            RunChange::Failed(failure) => self.failure = Some(failure),
            RunChange::Cancelled(reason) => self.cancel = Some(reason),
            _ => {}
        }
        self.ended_at = Some(Timestamp::from_micros(span.last_at));
    }
}

fn leave(tx: &mut Tx<'_>, run: i64, standing: &Standing<'_>, span: Span) -> rusqlite::Result<()> {
    let Span { events, first_pos, last_pos, last_at } = span;
    tx.leave_run.execute(params![
        run,
        events,
        first_pos,
        last_pos,
        last_at,
        standing.status,
        standing.place.map(|place| place as i64),
        standing.due_at.map(Timestamp::as_micros),
        standing.ended_at.map(Timestamp::as_micros),
        standing.cancel.map(|cancel| cancel.by.as_str()),
        standing.cancel.map(|cancel| cancel.why.as_str()),
        standing.failure.map(|failure| failure.reason.as_str()),
        standing.failure.map(|failure| failure.message.as_str()),
        standing.result,
        standing.waits_for.map(WaitFor::as_str),
        standing.started_at.map(Timestamp::as_micros),
    ])?;
    Ok(())
}
