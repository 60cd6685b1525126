//! Everything of one owner.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use insula_context::{RunId, ThreadId, Timestamp};

use super::{
    arrivals::Arrivals,
    asked::Asked,
    budgets::Reservations,
    line::Alarm,
    payloads::Payloads,
    shard::Map,
    stopping::Wishes,
    thread::Thread,
    webhooks::{Call, Calls},
};
use crate::{
    Answer, Error, Lease, NewRun, PayloadHash, RawJson, RunRecord, RunStatus, ScheduleRecord, StateSpace, Versioned,
    WorkerId,
};

/// A place in an owner's line: higher priorities first, then the order in which they came.
pub(super) type Ticket = (Reverse<i16>, u64);

/// One owner's runs, threads, payloads and state.
#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) runs: Map<RunId, Run>,
    pub(super) threads: Map<ThreadId, Thread>,
    pub(super) payloads: Payloads,
    /// The run that an idempotency key made.
    pub(super) keys: Map<Arc<str>, RunId>,
    pub(super) state: Map<StateSpace, Map<String, Versioned>>,
    /// Runs whose time has come. While there are any, the owner stands in the line or is passed over.
    pub(super) ready: BTreeMap<Ticket, RunId>,
    /// How many places in the own line were given away so far.
    tickets: u64,
    /// How this owner is served beside others.
    pub(super) share: Share,
    /// Ended runs that are still remembered, in the order of their ends.
    pub(super) ended: VecDeque<RunId>,
    pub(super) run_order: Arrivals<RunId>,
    pub(super) thread_order: Arrivals<ThreadId>,
    /// Open questions, each by its run and its index.
    pub(super) questions: Arrivals<(RunId, u32)>,
    /// Wishes to stop runs that do not exist.
    pub(super) wishes: Wishes,
    pub(super) schedules: BTreeMap<String, ScheduleRecord>,
    /// Who is to be told of the ends of runs. One that is due outlives its run, if only the run is forgotten.
    pub(super) calls: Calls,
    /// What calls in progress have reserved.
    pub(super) reservations: Reservations,
}

/// How an owner is served beside others.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// How many runs are claimed in a turn; 0 counts as 1.
    pub(super) weight: u16,
    /// How many of them were claimed in this turn.
    pub(super) served: u16,
    /// Submitted runs that somebody holds.
    pub(super) held: usize,
    /// Submitted runs that were never claimed.
    pub(super) unclaimed: usize,
    /// Enough is held: the owner does not stand in the line, however many runs are ready.
    pub(super) passed_over: bool,
}

impl Owner {
    /// Adds a run that does not exist yet, and its thread if it is the first there.
    pub(super) fn admit(&mut self, new: NewRun, key: Option<&str>) -> Result<&mut Run, Error> {
        let header = Arc::clone(&new.header);
        if let Some(parent) = header.parent.as_ref().filter(|_| !self.runs.contains_key(&header.run)) {
            self.runs.get_mut(parent).into_iter().for_each(|parent| parent.children += 1);
        }
        let Entry::Vacant(vacant) = self.runs.entry(header.run.clone()) else {
            return Err(Error::RunExists { run: header.run.clone() });
        };
        let thread = self
            .threads
            .entry(header.thread.clone())
            .or_insert_with(|| Thread::new(self.thread_order.push(header.thread.clone()), new.created_at));
        thread.runs += 1;
        let key = key.map(Arc::<str>::from);
        if let Some(key) = &key {
            self.keys.insert(Arc::clone(key), header.run.clone());
        }
        let number = self.run_order.push(header.run.clone());
        let payload = new.payload.as_ref().map(|payload| self.payloads.keep(payload));
        if let Some(target) = new.webhook.as_ref().filter(|_| header.parent.is_none()) {
            self.calls.insert(header.run.clone(), Call::new(number, header, Arc::clone(target)));
        }
        let run = vacant.insert(Run::new(new, number, key));
        run.payloads.extend(payload);
        Ok(run)
    }

    /// A run that its owner may see.
    pub(super) fn run(&self, run: &RunId) -> Option<&Run> {
        self.runs.get(run).filter(|run| !matches!(run.place, Place::Forgotten))
    }

    /// Draws a place in the own line.
    pub(super) fn ticket(&mut self, priority: i16) -> Ticket {
        self.tickets += 1;
        (Reverse(priority), self.tickets)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
            && self.state.is_empty()
            && self.threads.is_empty()
            && self.schedules.is_empty()
            && self.calls.is_empty()
            && self.wishes.is_empty()
            && self.reservations.is_empty()
    }
}

/// Where a run stands for those who hand out runs.
#[derive(Debug)]
pub(super) enum Place {
    /// In its owner's line.
    Ready,
    /// Waits for those before it in its thread.
    Blocked,
    /// Not to be claimed before its alarm, or before it is asked to stop.
    Asleep(Option<Alarm>),
    /// Somebody works on it.
    Held(Holder),
    /// It has ended.
    Ended,
    /// It has ended and is not shown any more; it goes when the last of its events does.
    Forgotten,
}

/// Who works on a run.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) worker: WorkerId,
    pub(super) until: Timestamp,
    /// Where it stands among the held runs; nowhere if the write that creates it also ends it.
    pub(super) slot: Option<usize>,
}

/// One run: its summary, and what its owner does not see.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) record: RunRecord,
    pub(super) deadline: Option<Timestamp>,
    pub(super) options: Option<RawJson>,
    pub(super) available_at: Option<Timestamp>,
    pub(super) priority: i16,
    /// Whether it waits for its turn in its thread, and counts among what its owner may have.
    pub(super) submitted: bool,
    pub(super) questions: Vec<Asked>,
    /// Its children that have not ended.
    pub(super) children: usize,
    pub(super) number: u64,
    pub(super) token: u64,
    pub(super) place: Place,
    /// Since when it is to be claimed, if it is.
    pub(super) ready_since: Timestamp,
    pub(super) key: Option<Arc<str>>,
    /// The `seq` of its first event and of its last one.
    pub(super) span: Option<(u64, u64)>,
    pub(super) last_at: Timestamp,
    pub(super) payloads: Vec<PayloadHash>,
}

impl Run {
    fn new(new: NewRun, number: u64, key: Option<Arc<str>>) -> Self {
        Self {
            record: RunRecord {
                header: new.header,
                version: new.version,
                status: RunStatus::Queued,
                input: new.input,
                result: None,
                failure: None,
                cancel: None,
                waits_for: None,
                rolled_back: false,
                created_at: new.created_at,
                started_at: None,
                ended_at: None,
                events: 0,
            },
            deadline: new.deadline,
            options: new.options,
            available_at: new.available_at,
            priority: new.priority,
            children: 0,
            submitted: false,
            questions: Vec::new(),
            number,
            token: 0,
            place: Place::Asleep(None),
            ready_since: new.created_at,
            key,
            span: None,
            last_at: Timestamp::from_micros(i64::MIN),
            payloads: Vec::new(),
        }
    }

    /// Whether it has something to go on with: the wish that it stops, or an answer.
    pub(super) fn is_wanted(&self) -> bool {
        self.record.cancel.is_some() || self.questions.iter().any(|asked| asked.answer.is_some())
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.place, Place::Ended | Place::Forgotten)
    }

    /// Answers to its questions.
    pub(super) fn answers(&self) -> Vec<Answer> {
        self.questions.iter().filter_map(|asked| asked.answer.clone()).collect()
    }

    /// The right to write, if this token still gives it.
    pub(super) fn refuse_stale(&self, lease: &Lease) -> Result<(), Error> {
        let run = || self.record.header.run.clone();
        match &self.place {
            Place::Ended | Place::Forgotten => Err(Error::RunEnded { run: run() }),
            // Two that created a run of one id have the same token.
            Place::Held(holder) if self.token == lease.token && holder.worker == lease.worker => Ok(()),
            _ => Err(Error::StaleLease { run: run(), held: lease.token }),
        }
    }
}
