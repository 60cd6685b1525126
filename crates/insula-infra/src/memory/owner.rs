//! Everything of one owner.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::Arc,
};

use bytes::Bytes;
use insula_context::{RunId, ThreadId, Timestamp};

use super::{arrivals::Arrivals, line::Alarm, shard::Map};
use crate::{
    Error, Event, EventType, NewRun, Payload, PayloadHash, RawJson, RunHeader, RunRecord, RunStatus, StateSpace,
    Versioned, WorkerId,
};

/// One owner's runs, threads, payloads and state.
#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) runs: Map<RunId, Run>,
    pub(super) threads: Map<ThreadId, Thread>,
    pub(super) payloads: Payloads,
    /// The run that an idempotency key made.
    pub(super) keys: Map<Arc<str>, RunId>,
    pub(super) state: Map<StateSpace, Map<String, Versioned>>,
    /// Runs whose time has come, oldest first. While there are any, the owner stands in the line.
    pub(super) ready: VecDeque<RunId>,
    /// Ended runs that are still remembered, in the order of their ends.
    pub(super) ended: VecDeque<RunId>,
    pub(super) run_order: Arrivals<RunId>,
    pub(super) thread_order: Arrivals<ThreadId>,
}

impl Owner {
    /// Adds a run that does not exist yet, and its thread if it is the first there.
    pub(super) fn admit(&mut self, new: NewRun, key: Option<&str>) -> Result<&mut Run, Error> {
        let header = Arc::clone(&new.header);
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
        let run = vacant.insert(Run::new(new, number, key));
        run.payloads.extend(payload);
        Ok(run)
    }

    /// A run that its owner may see.
    pub(super) fn run(&self, run: &RunId) -> Option<&Run> {
        self.runs.get(run).filter(|run| !matches!(run.place, Place::Forgotten))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.state.is_empty()
    }
}

/// Where a run stands for those who hand out runs.
#[derive(Debug)]
pub(super) enum Place {
    /// In its owner's line.
    Ready,
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
    pub(super) number: u64,
    pub(super) token: u64,
    pub(super) place: Place,
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
            number,
            token: 0,
            place: Place::Asleep(None),
            key,
            span: None,
            last_at: Timestamp::from_micros(i64::MIN),
            payloads: Vec::new(),
        }
    }

    /// The right to write, if this token still gives it.
    pub(super) fn refuse_stale(&self, token: u64) -> Result<(), Error> {
        let run = || self.record.header.run.clone();
        match self.place {
            Place::Ended | Place::Forgotten => Err(Error::RunEnded { run: run() }),
            Place::Held(_) if self.token == token => Ok(()),
            _ => Err(Error::StaleLease { run: run(), held: token }),
        }
    }
}

/// One thread and its log.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) number: u64,
    pub(super) created_at: Timestamp,
    /// How many runs of it are there.
    pub(super) runs: usize,
    pub(super) log: VecDeque<Logged>,
    /// The `seq` of the log's front, or of the next event when the log is empty.
    pub(super) oldest: u64,
}

impl Thread {
    fn new(number: u64, created_at: Timestamp) -> Self {
        Self { number, created_at, runs: 0, log: VecDeque::new(), oldest: 1 }
    }

    /// The `seq` of the last event.
    pub(super) fn head(&self) -> u64 {
        self.oldest + self.log.len() as u64 - 1
    }

    /// The entries with `first <= seq <= last`, each with its `seq`.
    pub(super) fn span(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, &Logged)> {
        let first = first.max(self.oldest);
        let from = usize::try_from(first - self.oldest).unwrap_or(usize::MAX).min(self.log.len());
        self.log.range(from..).zip(first..=last).map(|(entry, seq)| (seq, entry))
    }
}

/// One event of a log.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) kind: EventType,
    pub(super) at: Timestamp,
    pub(super) data: RawJson,
    pub(super) journal: Option<RawJson>,
    pub(super) header: Arc<RunHeader>,
}

impl Logged {
    /// As its owner reads it.
    pub(super) fn event(&self, seq: u64) -> Event {
        let header = Arc::clone(&self.header);
        Event { seq, kind: self.kind, at: self.at, data: Arc::clone(&self.data), header }
    }
}

/// Large values, each once however many runs refer to it.
#[derive(Debug, Default)]
pub(super) struct Payloads(Map<PayloadHash, (Bytes, usize)>);

impl Payloads {
    pub(super) fn keep(&mut self, payload: &Payload) -> PayloadHash {
        let (_, users) = self.0.entry(payload.hash()).or_insert_with(|| (payload.bytes().clone(), 0));
        *users += 1;
        payload.hash()
    }

    /// The bytes as they were kept, unchecked.
    pub(super) fn bytes(&self, hash: &PayloadHash) -> Option<Bytes> {
        self.0.get(hash).map(|(bytes, _)| bytes.clone())
    }

    pub(super) fn release(&mut self, hash: &PayloadHash) {
        if let Some((_, users)) = self.0.get_mut(hash) {
            *users -= 1;
            if *users == 0 {
                self.0.remove(hash);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn corrupt(&mut self) {
        self.0.values_mut().for_each(|(bytes, _)| *bytes = Bytes::from_static(b"rotten"));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
