//! One write to a run, whole or not at all.
//!
//! Whatever can be refused is refused before anything on the desk is touched, so a refusal does not touch its neighbours in
//! the group. A run that is created and ended by the same append is written once, in its final state.

use std::sync::Arc;

use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{
    Append, Committed, Error, EventType, NewRun, RunChange, RunStatus, Signals, UsageRow,
    chunk::{self, Chunk},
};
use tokio::sync::oneshot;

use crate::{
    after, ahead, error,
    group::{Chunked, Desk, Fresh, Hold, Run, Wants},
    owners::Newcomers,
    rows::Place,
    signals::PgSignals,
    writer::Job,
};

/// An append on its way to the writer.
pub(crate) struct Writing {
    /// Without its events, which stand in the chunk, and without the run that it creates.
    append: Append,
    create: Option<(Arc<NewRun>, i64)>,
    chunk: Option<Chunk>,
    /// When the run began, if one of the events says so.
    started: Option<Timestamp>,
    answer: Option<Result<Committed, Error>>,
    sender: oneshot::Sender<Result<Committed, Error>>,
}

impl Writing {
    /// Encodes the events and frees them here, on the caller's thread.
    pub(crate) fn new(mut append: Append, now: Timestamp, sender: oneshot::Sender<Result<Committed, Error>>) -> Self {
        let chunk = Chunk::encode(&append.events, i64::MIN);
        let started = append.events.iter().find(|event| event.kind == EventType::AgentStarted).map(|event| event.at);
        append.events = Vec::new();
        let create = append.create.take().map(|(new, lease)| (Arc::new(new), now.plus(lease).as_micros()));
        Self { append, create, chunk, started, answer: None, sender }
    }

    fn ends(&self) -> bool {
        self.append.change.as_ref().is_some_and(|change| change.status().is_terminal())
    }
}

impl Job for Writing {
    fn scope(&self) -> &UserScope {
        &self.append.lease.header.scope
    }

    fn newcomers(&self) -> Newcomers {
        if self.create.is_some() { Newcomers::Number } else { Newcomers::Leave }
    }

    fn wants(&self, wants: &mut Wants) {
        let header = &self.append.lease.header;
        let Some(owner) = wants.owner(&header.scope) else { return };
        match &self.create {
            Some(_) => {
                wants.line(owner, Hold::Beside);
                wants.new_run(owner, &header.thread, &header.run);
            }
            None => {
                wants.thread(owner, &header.thread);
                wants.run(owner, &header.run);
            }
        }
        if self.ends() {
            wants.end(owner, &header.thread, &header.run, header.parent.as_ref());
        }
        if let Some(RunChange::Waiting { children, .. }) = &self.append.change {
            children.iter().for_each(|child| wants.run(owner, child));
        }
        if !self.append.asks.is_empty() || !self.append.closes.is_empty() {
            wants.questions(owner, &header.run);
        }
    }

    fn run(&mut self, desk: &mut Desk, now: Timestamp) {
        self.answer = Some(self.write(desk, now).map(|head| Committed { head: head.cast_unsigned() }));
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, signals: &PgSignals) {
        let Self { append, chunk, answer, sender, .. } = *self;
        let answer = outcome.and_then(|()| answer.unwrap_or_else(|| Err(error::gone("append"))));
        if let (Ok(committed), Some(_)) = (&answer, &chunk) {
            signals.advanced(&append.lease.header.scope, &append.lease.header.thread, committed.head);
        }
        // Whoever has gone away loses the answer and not the append.
        let _gone = sender.send(answer);
    }
}

impl Writing {
    /// The head of the thread afterwards.
    fn write(&self, desk: &mut Desk, now: Timestamp) -> Result<i64, Error> {
        let header = &self.append.lease.header;
        let owner = desk.owner(&header.scope).ok_or_else(|| self.stale())?;
        let (number, floor) = match &self.create {
            Some((new, until)) => (self.create(desk, owner, (new, *until), now)?, i64::MIN),
            None => self.find(desk, owner)?,
        };
        let chunk = self.chunked(desk, floor)?;
        let thread = (owner, header.thread.as_str().to_owned());
        let head = desk.log(number, &thread, chunk).ok_or_else(|| self.stale())?;
        desk.keep_payloads(owner, number, &self.append.payloads);
        self.change_questions(desk, owner, number);
        self.change(desk, owner, number, now);
        self.follow_up(desk, owner, number, now);
        Ok(head)
    }

    /// The run, if this writer may write to it, and the time of its last event.
    fn find(&self, desk: &Desk, owner: i64) -> Result<(i64, i64), Error> {
        let lease = &self.append.lease;
        let number = desk.run_number(owner, lease.header.run.as_str()).ok_or_else(|| self.stale())?;
        let found = desk.run(number).ok_or_else(|| self.stale())?;
        let run = || lease.header.run.clone();
        if found.place.is_none() {
            return Err(Error::RunEnded { run: run() });
        }
        let is_held = found.place == Some(Place::Held) && found.worker.as_deref() == Some(lease.worker.as_str());
        if !is_held || found.token.cast_unsigned() != lease.token {
            return Err(self.stale());
        }
        let events = found.events.cast_unsigned();
        if events != self.append.after {
            return Err(Error::OutOfOrder { run: run(), given: self.append.after, found: events });
        }
        Ok((number, found.last_at))
    }

    fn stale(&self) -> Error {
        Error::StaleLease { run: self.append.lease.header.run.clone(), held: self.append.lease.token }
    }

    /// The events, none of them before the last one: the clock of another machine may have been ahead.
    fn chunked(&self, desk: &Desk, floor: i64) -> Result<Option<Chunked>, Error> {
        let Some(chunk) = &self.chunk else { return Ok(None) };
        let later = (chunk.first_at < floor).then(|| chunk.not_before(floor)).transpose();
        let later = later.map_err(|error| desk.server.corrupt("an append", error.to_string()))?;
        let chunk = later.as_ref().unwrap_or(chunk);
        Ok(Some(Chunked {
            sum: chunk::checksum(&chunk.body),
            body: chunk.body.clone(),
            count: chunk.count.cast_signed(),
            last_at: chunk.last_at,
        }))
    }

    /// Puts the run that this append creates on the desk, running.
    fn create(
        &self,
        desk: &mut Desk,
        owner: i64,
        (new, until): (&Arc<NewRun>, i64),
        now: Timestamp,
    ) -> Result<i64, Error> {
        let header = &new.header;
        let wish = desk.wish(owner, &header.run).filter(|wish| !ahead::is_over(wish.asked_at, now));
        if let Some(wish) = wish.filter(|_| !matches!(self.append.change, Some(RunChange::Cancelled(_)))) {
            return Err(Error::CancelledAhead { run: header.run.clone(), reason: wish.reason.clone() });
        }
        let cancel = wish.map(|wish| wish.reason.clone());
        if desk.run_number(owner, header.run.as_str()).is_some() {
            return Err(Error::RunExists { run: header.run.clone() });
        }
        let started = self.started.or(self.chunk.as_ref().map(|chunk| Timestamp::from_micros(chunk.first_at)));
        let run = Run {
            place: Some(Place::Held),
            status: RunStatus::Running,
            token: 1,
            worker: Some(self.append.lease.worker.as_str().to_owned()),
            lease_until: Some(until),
            started_at: Some(started.unwrap_or(new.created_at).as_micros()),
            cancel,
            ..place_run(desk, owner, new, None)?
        };
        let number = run.number;
        desk.add_run(run);
        desk.fulfil(owner, &header.run);
        desk.keep_payloads(owner, number, new.payload.as_slice());
        Ok(number)
    }

    fn change_questions(&self, desk: &mut Desk, owner: i64, run: i64) {
        let (mut asked, mut answered) = (0, 0);
        for place in &self.append.closes {
            if let Some(closed) = desk.close(owner, run, i64::from(*place)) {
                asked -= 1;
                answered -= i64::from(closed.is_answered);
            }
        }
        for ask in &self.append.asks {
            if desk.question(run, i64::from(ask.index)).is_none() {
                desk.ask(owner, run, ask);
                asked += 1;
            }
        }
        if let Some(run) = desk.change(run).filter(|_| asked != 0 || answered != 0) {
            (run.asked, run.answered) = (run.asked + asked, run.answered + answered);
        }
    }

    /// What the append makes of the run's summary.
    fn change(&self, desk: &mut Desk, owner: i64, number: i64, now: Timestamp) {
        let has_ended_child = self.has_ended_child(desk, owner);
        let is_new = self.create.is_some();
        let started = self.started.map(Timestamp::as_micros);
        let Some(run) = desk.change(number) else { return };
        let Some(change) = &self.append.change else { return };
        // Whoever gives a run back leaves its status as it is.
        if is_new || !matches!(change, RunChange::HandedOver) {
            run.status = change.status();
        }
        match change {
            RunChange::Running => {
                run.waits_for = None;
                run.started_at = run.started_at.or(Some(now.as_micros()));
            }
            RunChange::Queued => (run.waits_for, run.started_at) = (None, None),
            RunChange::HandedOver => put(run, Place::Ready, Some(now)),
            RunChange::Waiting { reason, until, .. } => {
                run.waits_for = Some(*reason);
                run.started_at = run.started_at.or(started);
                let has_news = !is_new && (run.cancel.is_some() || run.answered > 0);
                let is_ready = has_news || has_ended_child;
                put(
                    run,
                    if is_ready { Place::Ready } else { Place::Asleep },
                    if is_ready { Some(now) } else { *until },
                );
            }
            _ => self.end(run, started, now),
        }
    }

    fn end(&self, run: &mut Run, started: Option<i64>, now: Timestamp) {
        (run.place, run.worker, run.lease_until, run.due_at, run.waits_for) = (None, None, None, None, None);
        run.started_at = run.started_at.or(started);
        run.ended_at = Some(if run.events == 0 { now.as_micros() } else { run.last_at });
        match &self.append.change {
            Some(RunChange::Completed { result }) => run.result = Some(Arc::clone(result)),
            Some(RunChange::Failed(failure)) => run.failure = Some(failure.clone()),
            Some(RunChange::Cancelled(reason)) => run.cancel = Some(reason.clone()),
            _ => {}
        }
    }

    /// Whether one of the children that it waits for has ended. One that is not there any more has.
    fn has_ended_child(&self, desk: &Desk, owner: i64) -> bool {
        let Some(RunChange::Waiting { children, .. }) = &self.append.change else { return false };
        let is_open = |child: &RunId| {
            let number = desk.run_number(owner, child.as_str());
            number.and_then(|number| desk.run(number)).is_some_and(|run| run.place.is_some())
        };
        !children.iter().all(is_open)
    }

    /// What was spent, and what the end means for others.
    fn follow_up(&self, desk: &mut Desk, owner: i64, number: i64, now: Timestamp) {
        let header = &self.append.lease.header;
        if !self.append.spent.is_empty() {
            desk.spend(owner, &header.scope, &header.run, &self.append.spent);
        }
        if !self.append.spent.is_empty() || self.ends() {
            self.count(desk, owner, number, now);
        }
        if self.ends() {
            let cancelled = match &self.append.change {
                Some(RunChange::Cancelled(reason)) => Some(reason),
                _ => None,
            };
            after::ended(desk, number, header, cancelled, now);
        }
    }

    /// Adds to what the owner has used on the day of the last event.
    fn count(&self, desk: &mut Desk, owner: i64, number: i64, now: Timestamp) {
        let Some(run) = desk.run(number) else { return };
        let at = if run.events == 0 { now } else { Timestamp::from_micros(run.last_at) };
        let started = run.started_at.map(Timestamp::from_micros);
        let mut row = UsageRow::new(UsageRow::day_of(at), &self.append.lease.header.agent);
        self.append.spent.iter().for_each(|spent| row.add_spent(&spent.amounts));
        if let Some(change) = self.append.change.as_ref().filter(|_| self.ends()) {
            row.add_end(change.status(), UsageRow::micros(started, at));
        }
        desk.count(owner, &self.append.lease.header.agent, row);
    }
}

/// Nobody holds it any more.
fn put(run: &mut Run, place: Place, due_at: Option<Timestamp>) {
    (run.place, run.due_at) = (Some(place), due_at.map(Timestamp::as_micros));
    (run.worker, run.lease_until) = (None, None);
}

/// A new run as it stands before anything has become of it, with its thread, its number and its call.
pub(crate) fn place_run(desk: &mut Desk, owner: i64, new: &Arc<NewRun>, key: Option<&str>) -> Result<Run, Error> {
    let header = &new.header;
    let missing = |desk: &Desk| desk.server.corrupt("a group of writes", "it has fewer numbers than new runs");
    let thread = desk.thread_or_new(owner, &header.thread, new.created_at).map(|thread| thread.number);
    let thread = thread.ok_or_else(|| missing(desk))?;
    let number = desk.next_run().ok_or_else(|| missing(desk))?;
    let target = new.webhook.as_ref().filter(|_| header.parent.is_none());
    if let Some(target) = target {
        desk.keep_call(owner, number, Arc::clone(target));
    }
    Ok(Run {
        owner,
        number,
        id: header.run.as_str().to_owned(),
        thread,
        parent: header.parent.as_ref().map(|parent| parent.as_str().to_owned()),
        agent: Arc::clone(&header.agent),
        has_call: target.is_some(),
        last_at: i64::MIN,
        fresh: Some(Fresh { new: Arc::clone(new), key: key.map(str::to_owned) }),
        ..Run::default()
    })
}
