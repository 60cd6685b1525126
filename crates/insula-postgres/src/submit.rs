//! Putting a run into the queue, and what that means for the others of its thread.

use std::sync::Arc;

use insula_context::{CancelReason, RunId, Timestamp, UserScope};
use insula_infra::{Error, NewRun, RunStatus, ThreadPolicy};
use tokio::sync::oneshot;

use crate::{
    ahead, append, cancel, error,
    group::{ALL, Desk, Hold, Run, Wants},
    rows::Place,
    signals::PgSignals,
    writer::Job,
};

/// What became of a submission: the run is new, or its key made this one before.
#[derive(Debug, Clone)]
pub(crate) enum Placed {
    New,
    Known(RunId),
}

/// A submission on its way to the writer.
pub(crate) struct Submission {
    pub(crate) new: Arc<NewRun>,
    pub(crate) key: Option<String>,
    pub(crate) answer: Option<Result<Placed, Error>>,
    pub(crate) sender: oneshot::Sender<Result<Placed, Error>>,
}

impl Job for Submission {
    fn scope(&self) -> &UserScope {
        &self.new.header.scope
    }

    fn wants(&self, wants: &mut Wants) {
        let header = &self.new.header;
        let Some(owner) = wants.owner(&header.scope) else { return };
        wants.line(owner, Hold::Submit);
        wants.new_run(owner, &header.thread, &header.run);
        if self.in_turn() {
            let makes_way = matches!(self.new.policy, Some(ThreadPolicy::Interrupt | ThreadPolicy::Rollback));
            wants.in_turn(owner, &header.thread, if makes_way { ALL } else { 1 });
        }
        if let Some(key) = &self.key {
            wants.key(owner, key);
        }
    }

    fn run(&mut self, desk: &mut Desk, now: Timestamp) {
        self.answer = Some(self.place(desk, now));
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, _: &PgSignals) {
        let Self { answer, sender, .. } = *self;
        let _gone = sender.send(outcome.and_then(|()| answer.unwrap_or_else(|| Err(error::gone("submit")))));
    }
}

impl Submission {
    fn in_turn(&self) -> bool {
        self.new.policy.is_some() && self.new.header.parent.is_none()
    }

    fn place(&self, desk: &mut Desk, now: Timestamp) -> Result<Placed, Error> {
        let (new, header) = (&self.new, &self.new.header);
        let owner = desk.owner(&header.scope).ok_or_else(|| error::gone("submit"))?;
        if let Some(known) = self.known(desk, owner)? {
            return Ok(Placed::Known(known));
        }
        let thread = desk.thread(owner, &header.thread).map(|thread| thread.number);
        let before = thread.filter(|_| self.in_turn()).map_or_else(Vec::new, |thread| desk.in_turn(thread));
        self.refuse(desk, owner, &before)?;
        let wish = desk.wish(owner, &header.run).filter(|wish| !ahead::is_over(wish.asked_at, now));
        let wish = wish.map(|wish| wish.reason.clone());
        let later = new.available_at.filter(|at| *at > now);
        let place = match (&wish, before.is_empty(), later) {
            (Some(_), ..) | (None, true, None) => Place::Ready,
            (None, false, _) => Place::Blocked,
            (None, true, Some(_)) => Place::Asleep,
        };
        let is_wished = wish.is_some();
        let run = Run {
            status: RunStatus::Queued,
            place: Some(place),
            due_at: Some(later.filter(|_| !is_wished).unwrap_or(now).as_micros()),
            cancel: wish,
            in_turn: self.in_turn(),
            ..append::place_run(desk, owner, new, self.key.as_deref())?
        };
        let number = run.number;
        desk.add_run(run);
        desk.fulfil(owner, &header.run);
        desk.keep_payloads(owner, number, new.payload.as_slice());
        let line = desk.line(owner);
        line.weight = i64::from(new.weight.max(1));
        line.submitted += i64::from(self.in_turn());
        if !is_wished {
            self.make_way(desk, &before, now);
        }
        Ok(Placed::New)
    }

    /// The run that this key made before.
    fn known(&self, desk: &Desk, owner: i64) -> Result<Option<RunId>, Error> {
        let known = self.key.as_ref().and_then(|key| desk.run_of_key(owner, key));
        let id = known.map(|run| RunId::new(&run.id)).transpose();
        id.map_err(|_| desk.server.corrupt(format!("a run of {}", self.new.header.scope), "its id is damaged"))
    }

    /// Whatever can be refused is refused before anything is written.
    fn refuse(&self, desk: &Desk, owner: i64, before: &[i64]) -> Result<(), Error> {
        let header = &self.new.header;
        if desk.run_number(owner, header.run.as_str()).is_some() {
            return Err(Error::RunExists { run: header.run.clone() });
        }
        let queued = desk.queued(owner);
        let full = self.new.most_queued.filter(|most| i64::try_from(*most).is_ok_and(|most| queued >= most));
        if let Some(limit) = full {
            return Err(Error::QueueFull { limit });
        }
        let busy = before.first().filter(|_| self.new.policy == Some(ThreadPolicy::Reject));
        let Some(run) = busy.and_then(|number| desk.run(*number)) else { return Ok(()) };
        let damaged = |_| desk.server.corrupt(format!("a run of {}", header.scope), "its id is damaged");
        let run = RunId::new(&run.id).map_err(damaged)?;
        Err(Error::ThreadBusy { thread: header.thread.clone(), run })
    }

    /// Asks those before it to stop, if its policy says so.
    fn make_way(&self, desk: &mut Desk, before: &[i64], now: Timestamp) {
        let is_rollback = self.new.policy == Some(ThreadPolicy::Rollback);
        if !is_rollback && self.new.policy != Some(ThreadPolicy::Interrupt) {
            return;
        }
        let reason = CancelReason::new("policy", format!("run {} took its place in the thread", self.new.header.run));
        for number in before {
            cancel::ask(desk, *number, &reason, now);
            if let Some(run) = desk.change(*number).filter(|_| is_rollback) {
                run.rolled_back = true;
            }
        }
    }
}
