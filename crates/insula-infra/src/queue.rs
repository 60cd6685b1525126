//! The run queue: the one port that works across scopes. The engine alone is given it.
//!
//! It is kept narrow (submit, claim, renew, append) so that another durable engine can stand behind it. Nothing here
//! assumes SQL.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, Timestamp, UserScope};
use tokio::sync::oneshot;

use crate::{
    Answer, Error, EventType, NewEvent, NewQuestion, NewRun, Payload, RawJson, RunChange, RunHeader, RunRecord,
    ScheduleRecord, Spent,
};

/// Who works on runs: one per process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// A name that no other process has.
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The right to write to one run. The store refuses it once a later token was handed out.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The run.
    pub header: Arc<RunHeader>,
    /// Who holds it.
    pub worker: WorkerId,
    /// The fencing token: 1 for whoever created the run running, one more with every claim.
    pub token: u64,
}

/// One atomic write to a run: its events, what they make of its summary, and the payloads that they refer to.
#[derive(Debug, Clone)]
pub struct Append {
    /// The right to do so.
    pub lease: Lease,
    /// Creates the run in the same write, running under `lease` (token 1) for the given time.
    pub create: Option<(NewRun, Duration)>,
    /// How many events the run has so far. A writer whose earlier append was lost is refused by this.
    pub after: u64,
    /// What happened, in order.
    pub events: Vec<NewEvent>,
    /// What that makes of the run.
    pub change: Option<RunChange>,
    /// Large values that the events refer to by hash.
    pub payloads: Vec<Payload>,
    /// Questions that are open from now on.
    pub asks: Vec<NewQuestion>,
    /// Questions that are closed: their answer was taken, or nobody waits for it any more. The end closes all.
    pub closes: Vec<u32>,
    /// What calls have cost.
    pub spent: Vec<Spent>,
}

impl Append {
    /// An append of nothing, to a run with `after` events.
    pub fn new(lease: Lease, after: u64) -> Self {
        let (events, payloads, asks, closes, spent) = Default::default();
        Self { lease, create: None, after, events, change: None, payloads, asks, closes, spent }
    }

    /// Whether it says one thing. An end and its event are one fact, and neither is taken without the other; a run that
    /// it creates is the one of its lease. Every backend asks this before it writes.
    ///
    /// # Errors
    /// [`Error::InvalidAppend`] with what does not fit.
    pub fn check(&self) -> Result<(), Error> {
        match self.end_problem().or_else(|| self.creation_problem()) {
            Some(problem) => Err(Error::InvalidAppend { run: self.lease.header.run.clone(), problem }),
            None => Ok(()),
        }
    }

    fn end_problem(&self) -> Option<&'static str> {
        let mut terminal = self.events.iter().map(|event| event.kind).filter(|kind| kind.is_terminal());
        let last_is_terminal = self.events.last().is_some_and(|event| event.kind.is_terminal());
        match (terminal.next(), self.change.as_ref().and_then(RunChange::terminal_event)) {
            (None, None) => None,
            (None, Some(_)) => Some("it ends the run without a terminal event"),
            (Some(_), None) => Some("it has a terminal event and does not end the run"),
            (Some(kind), Some(end)) if kind != end => Some("its terminal event is that of another end"),
            _ if terminal.next().is_some() => Some("it has a second terminal event"),
            _ if !last_is_terminal => Some("something follows its terminal event"),
            _ => None,
        }
    }

    fn creation_problem(&self) -> Option<&'static str> {
        let (new, _) = self.create.as_ref()?;
        if new.header != self.lease.header {
            Some("it creates another run than that of its lease")
        } else if self.lease.token != 1 {
            Some("the first token of a created run is 1")
        } else if self.after != 0 {
            Some("a run that it creates has no events before")
        } else {
            None
        }
    }
}

/// An append is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The `seq` of the last event of the thread after the append.
    pub head: u64,
}

/// Resolves when an append is durable, or with the reason why it is not.
///
/// Appends of one run become durable in order, so waiting for the last is waiting for all. Dropping it loses the
/// answer and not the append.
#[derive(Debug)]
#[must_use = "an append is durable only when its commit says so; bind it with `let _later` if a following one is awaited"]
pub enum Commit {
    /// The answer is known.
    Ready(Option<Result<Committed, Error>>),
    /// The answer comes when the write that contains the append has ended.
    Pending(oneshot::Receiver<Result<Committed, Error>>),
}

impl Commit {
    /// An answer that is known at once.
    pub fn ready(answer: Result<Committed, Error>) -> Self {
        Self::Ready(Some(answer))
    }
}

impl Future for Commit {
    type Output = Result<Committed, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let gone = || Error::Unavailable { operation: "append", component: "the log's writer", source: None };
        match &mut *self {
            Self::Ready(answer) => Poll::Ready(answer.take().unwrap_or_else(|| Err(gone()))),
            Self::Pending(receiver) => Pin::new(receiver).poll(cx).map(|answer| answer.unwrap_or_else(|_| Err(gone()))),
        }
    }
}

/// What others want of a run that somebody holds. It is told again until the run has ended or the question is closed.
#[derive(Debug, Clone)]
pub struct News {
    /// The run.
    pub header: Arc<RunHeader>,
    /// Who wants it to stop, and why.
    pub stop: Option<CancelReason>,
    /// Answers to its questions.
    pub answers: Vec<Answer>,
}

/// The answer to a submission.
#[derive(Debug, Clone)]
pub enum Submitted {
    /// The run is in the queue.
    New,
    /// The same idempotency key was used before; this is the run it made.
    Known(Box<RunRecord>),
}

/// A run that this worker now holds the lease of.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The right to write to it.
    pub lease: Lease,
    /// The run as it stands. `status` is what it was before the claim: `queued` for a first attempt, `running` when a
    /// lost worker is taken over, `waiting` when it is woken.
    pub run: RunRecord,
    /// To have ended by this time.
    pub deadline: Option<Timestamp>,
    /// What the engine wrote down for itself when the run was made.
    pub options: Option<RawJson>,
    /// Answers to its questions that are not closed yet.
    pub answers: Vec<Answer>,
    /// The store's clock at the claim: what is due by it is due, whatever the claimer's own clock says.
    pub now: Timestamp,
}

/// One recorded fact of a run, for its resumption.
#[derive(Debug, Clone)]
pub struct JournalEntry {
    /// What kind of event recorded it.
    pub kind: EventType,
    /// What readers see.
    pub data: RawJson,
    /// What only the engine sees.
    pub journal: Option<RawJson>,
}

/// Runs of all users: who has the engine has this, and nobody else.
#[async_trait]
pub trait RunQueue: Send + Sync {
    /// Puts a run into the queue. Durable when it returns. With an idempotency key, a second submission of the same
    /// owner answers with the first one's run and adds nothing.
    ///
    /// A thread's runs follow the policy of the one that comes: while another run that was submitted is under way in the
    /// same thread, it waits until that one has ended ([`ThreadPolicy::Enqueue`](crate::ThreadPolicy)), is refused, or
    /// has all of them asked to stop and waits until they have. A run that waits for a human or a timer is under way. Those
    /// that wait start in the order in which they were submitted, each when all before it have ended. Children, runs
    /// without a policy and runs that were created by an append count for nothing here.
    ///
    /// A run that waits and is asked to stop is to be claimed at once. So is one that was [stopped before it
    /// came](crate::CancelRequest::Ahead): without its turn, before its time, and without stopping anybody.
    ///
    /// # Errors
    /// [`Error::RunExists`] when this owner has a run of this id, [`Error::ThreadBusy`] under the policy to refuse,
    /// [`Error::QueueFull`] when the owner has [`NewRun::most_queued`] runs with a policy that were never claimed. A
    /// known key is answered all the same.
    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error>;

    /// Takes up to `max` runs whose time has come: queued ones, those whose wake-up time has passed, those whose
    /// worker's lease has expired, and parked ones that were asked to stop or have something to go on with. Each gets a
    /// token that makes all earlier ones stale.
    ///
    /// Owners are served in turn, each with as many runs in a turn as the [weight](NewRun::weight) of the owner's latest
    /// submitted run says; an owner's runs by priority, then in the order in which their time came. An owner of whom
    /// `per_owner` runs with a policy are held already, by whomever, is passed over with all runs, until one of those has
    /// ended, is parked, is given back or has lost its lease.
    ///
    /// # Errors
    /// When the store does not answer. Not cancellation safe: a dropped call may have claimed runs, which come back when
    /// the lease expires.
    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error>;

    /// Extends the lease of everything that this worker holds to `lease` from now, by the store's clock.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error>;

    /// Writes to a run, atomically. Returns at once; the [`Commit`] says when it is durable. Readers are told only then.
    ///
    /// A run that parks is to be claimed at once if what it waits for is there already: it was asked to stop, one of its
    /// questions has an answer and is not closed, or one of [the children](RunChange::Waiting) has ended. The end of a run
    /// wakes its parent if that is parked, for whatever reason, and the next run that waits for its turn in the thread,
    /// and asks its children to stop that have not ended: for the reason for which it was stopped itself, or [because it is
    /// over](RunChange::orphaned). What it closes is closed before it asks, and a question that is asked already stays as it is.
    ///
    /// The commit fails with [`Error::RunExists`], [`Error::CancelledAhead`], [`Error::RunEnded`],
    /// [`Error::StaleLease`] or [`Error::OutOfOrder`], and then nothing of the append is kept.
    fn append(&self, append: Append) -> Commit;

    /// What has been recorded of a run, in order: its events with their journal part.
    ///
    /// # Errors
    /// [`Error::StaleLease`] when somebody else holds the run by now.
    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error>;

    /// What has been recorded of a run, whoever holds it: for exports and replays. `None` when there is no such run.
    ///
    /// # Errors
    /// When the store does not answer, or what it holds is corrupt.
    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error>;

    /// Which of the runs that this worker holds were asked to stop, or have answers to their questions.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error>;

    /// Up to `max` schedules whose next slot has come by the store's clock, with that clock.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error>;

    /// Moves a schedule from one slot to the next. `false` when it does not stand at `from` any more: another node has
    /// moved it, or its owner has changed or deleted it.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error>;

    /// Forgets up to `max` threads without open runs and without forks whose last run ended before `before`, with
    /// everything in them; of a thread without runs, the time when it was made counts. Says how many went.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error>;
}
