//! What the store must hold by what it has accepted, kept beside it: the invariants of every operation are asked here.

use std::collections::{BTreeMap, BTreeSet};

use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Append, Claimed, Error, EventType, JournalEntry, Lease, NewEvent, NewQuestion, NewRun, RunChange, WaitFor, WorkerId,
};
use serde_json::Value;

/// A user's run.
pub type Key = (UserScope, RunId);

/// Where a run is that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In the queue, perhaps behind others.
    Queued,
    /// Somebody has a lease until then, unless it is renewed.
    Held(WorkerId, Timestamp),
    /// Parked until something wakes it.
    Parked(Option<Timestamp>, Vec<RunId>),
    /// Over.
    Ended,
}

/// An open question.
#[derive(Debug)]
pub struct Asked {
    /// Who is to say something.
    pub kind: WaitFor,
    /// What is asked.
    pub words: Value,
    /// Whether somebody has.
    pub answered: bool,
}

/// A run by what the store has accepted.
#[derive(Debug)]
pub struct Entry {
    /// Its thread.
    pub thread: ThreadId,
    /// Its parent.
    pub parent: Option<RunId>,
    /// Where it is.
    pub standing: Standing,
    /// The newest token.
    pub token: u64,
    /// How many events it has.
    pub events: u64,
    /// Its open questions by their place in the order of calls.
    pub questions: BTreeMap<u32, Asked>,
    /// Whether somebody asked to stop it.
    pub stop: bool,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its lease has been over once, and was renewed after that: the store may have given the run away meanwhile.
    lapsed: bool,
    /// A child of it has ended since it was parked.
    woken: bool,
    /// Randomness and times that it was told, in the order of the log.
    pub told: Vec<Value>,
    started: bool,
    open: BTreeSet<String>,
    recorded: BTreeSet<String>,
}

/// What an append said, kept while the append itself is on its way.
pub struct Said {
    lease: Lease,
    create: Option<Timestamp>,
    events: Vec<NewEvent>,
    change: Option<RunChange>,
    asks: Vec<NewQuestion>,
    closes: Vec<u32>,
    after: u64,
}

impl Said {
    /// What this append says; `now` is the store's time.
    pub fn of(append: &Append, now: Timestamp) -> Self {
        Self {
            lease: append.lease.clone(),
            create: append.create.as_ref().map(|(_, life)| now.plus(*life)),
            events: append.events.clone(),
            change: append.change.clone(),
            asks: append.asks.clone(),
            closes: append.closes.clone(),
            after: append.after,
        }
    }

    /// The kinds of its events, for the trace.
    pub fn words(&self) -> String {
        let kinds: Vec<_> = self.events.iter().map(|event| event.kind.as_str()).collect();
        format!("{} t{} after {} {}", self.lease.header.run, self.lease.token, self.after, kinds.join(","))
    }
}

/// All runs, threads and counters.
#[derive(Debug, Default)]
pub struct Book {
    /// Every run that was ever accepted.
    pub runs: BTreeMap<Key, Entry>,
    heads: BTreeMap<(UserScope, ThreadId), u64>,
    workers: BTreeMap<String, Timestamp>,
    /// How often each user's counter was raised.
    pub counted: BTreeMap<UserScope, u64>,
}

type Broken = Vec<(&'static str, Option<String>)>;

impl Book {
    /// A run is in the queue.
    pub fn submitted(&mut self, run: &NewRun) {
        let key = (run.header.scope.clone(), run.header.run.clone());
        self.runs.entry(key).or_insert_with(|| Entry::new(&run.header.thread, None, Standing::Queued));
    }

    /// A worker's leases go on.
    pub fn renewed(&mut self, worker: &WorkerId, until: Timestamp, now: Timestamp) {
        let before = self.workers.get(worker.as_str()).copied();
        for run in self.runs.values_mut() {
            let mine = matches!(&run.standing, Standing::Held(holder, until) if holder == worker && *until <= now);
            run.lapsed |= mine && before.is_none_or(|before| before <= now);
        }
        let known = self.workers.entry(worker.as_str().to_owned()).or_insert(until);
        *known = until.max(*known);
    }

    /// A run was handed out.
    pub fn claimed(&mut self, claimed: &Claimed, until: Timestamp, now: Timestamp) -> Broken {
        let (Lease { header, worker, token }, events) = (&claimed.lease, claimed.run.events);
        let key = (header.scope.clone(), header.run.clone());
        let expired = self.runs.get(&key).is_some_and(|run| self.is_free(run, now));
        let Some(run) = self.runs.get_mut(&key) else {
            return vec![("claims what was submitted", Some(format!("{} is not known", header.run)))];
        };
        let said = || format!("{} with token {token} while {:?}, token {}", header.run, run.standing, run.token);
        let broken = vec![
            ("one writer per run", (!expired || *token <= run.token).then(said)),
            (
                "what was acknowledged is there",
                (events != run.events).then(|| format!("{} has {events} events, not {}", header.run, run.events)),
            ),
        ];
        (run.token, run.standing) = (*token, Standing::Held(worker.clone(), until));
        (run.lapsed, run.woken) = (false, false);
        broken
    }

    /// Whether a run may be handed out.
    fn is_free(&self, run: &Entry, now: Timestamp) -> bool {
        match &run.standing {
            Standing::Queued => true,
            Standing::Held(worker, until) => {
                let renewed = self.workers.get(worker.as_str());
                run.lapsed || renewed.is_none_or(|renewed| *renewed <= now) && *until <= now
            }
            Standing::Parked(until, children) => {
                let ended = |child: &RunId| {
                    self.runs.iter().any(|((_, id), run)| id == child && run.standing == Standing::Ended)
                };
                let answered = run.questions.values().any(|question| question.answered);
                until.is_some_and(|at| at <= now) || run.stop || run.woken || answered || children.iter().any(ended)
            }
            Standing::Ended => false,
        }
    }

    /// A question has its answer.
    pub fn answered(&mut self, key: &Key, index: u32) {
        if let Some(question) = self.runs.get_mut(key).and_then(|run| run.questions.get_mut(&index)) {
            question.answered = true;
        }
    }

    /// Somebody wants a run to stop.
    pub fn stopped(&mut self, key: &Key) {
        if let Some(run) = self.runs.get_mut(key) {
            run.stop = true;
        }
    }

    /// An append was answered.
    pub fn appended(&mut self, said: &Said, answer: &Result<u64, Error>, now: Timestamp) -> Broken {
        let header = &said.lease.header;
        let key = (header.scope.clone(), header.run.clone());
        let head = match answer {
            Ok(head) => *head,
            Err(error) => return self.refused(&key, said, error, now),
        };
        if let Some(until) = said.create {
            let held = Standing::Held(said.lease.worker.clone(), until);
            self.runs
                .entry(key.clone())
                .or_insert_with(|| Entry { token: 1, ..Entry::new(&header.thread, header.parent.clone(), held) });
        }
        let Some(run) = self.runs.get_mut(&key) else {
            return vec![("writes to what exists", Some(said.words()))];
        };
        let mut broken = run.writer(said);
        let before = self.heads.entry((header.scope.clone(), header.thread.clone())).or_default();
        let due = *before + said.events.len() as u64;
        let gap =
            (!said.events.is_empty() && head != due).then(|| format!("{} stands at {head}, not {due}", header.thread));
        broken.push(("seq has no gap", gap));
        *before = due;
        for event in &said.events {
            broken.push(("events in their order", run.take(event).map(|what| format!("{}: {what}", header.run))));
        }
        run.ask(said);
        broken.extend(run.change(said));
        run.ended_at = (run.standing == Standing::Ended).then_some(now);
        if run.standing == Standing::Ended {
            let parent = run.parent.clone();
            self.wake_family(&key, parent);
        }
        broken
    }

    /// The end of a run wakes its parent, and its children because they are to stop.
    fn wake_family(&mut self, ended: &Key, parent: Option<RunId>) {
        if let Some(parent) = parent.and_then(|parent| self.runs.get_mut(&(ended.0.clone(), parent))) {
            parent.woken = true;
        }
        for ((scope, _), run) in &mut self.runs {
            if *scope == ended.0 && run.parent.as_ref() == Some(&ended.1) {
                run.woken = true;
            }
        }
    }

    fn refused(&self, key: &Key, said: &Said, error: &Error, now: Timestamp) -> Broken {
        let valid = self
            .runs
            .get(key)
            .is_some_and(|run| run.is_held() && run.token == said.lease.token && !self.is_free(run, now));
        let wrong = valid && matches!(error, Error::StaleLease { .. });
        vec![("a valid writer is heard", wrong.then(|| format!("{}: {error}", said.words())))]
    }

    /// A journal was read.
    pub fn journal(&self, lease: &Lease, entries: &[JournalEntry]) -> Broken {
        let key = (lease.header.scope.clone(), lease.header.run.clone());
        let events = self.runs.get(&key).map_or(0, |run| run.events);
        let wrong = events != entries.len() as u64;
        vec![(
            "what was acknowledged is there",
            wrong.then(|| format!("{} has {} entries, not {events}", key.1, entries.len())),
        )]
    }

    /// Events of a thread were read.
    pub fn read(&self, scope: &UserScope, thread: &ThreadId, after: u64, seqs: &[u64]) -> Broken {
        let head = self.heads.get(&(scope.clone(), thread.clone())).copied().unwrap_or(0);
        let fits =
            (after + 1..).zip(seqs).all(|(due, seq)| due == *seq) && seqs.last().is_none_or(|last| *last <= head);
        let missing = seqs.is_empty() && after < head;
        let wrong = !fits || missing;
        vec![(
            "readers see what is durable, in order",
            wrong.then(|| format!("{thread} after {after}, head {head}: {seqs:?}")),
        )]
    }

    /// Whether a call's result is in the log, and who may write there.
    pub fn recorded(&self, key: &Key, call: &str) -> Option<&WorkerId> {
        let run = self.runs.get(key).filter(|run| run.recorded.contains(call))?;
        match &run.standing {
            Standing::Held(worker, _) => Some(worker),
            _ => None,
        }
    }
}

impl Entry {
    fn new(thread: &ThreadId, parent: Option<RunId>, standing: Standing) -> Self {
        Self {
            thread: thread.clone(),
            parent,
            standing,
            token: 0,
            events: 0,
            questions: BTreeMap::new(),
            stop: false,
            ended_at: None,
            lapsed: false,
            woken: false,
            told: Vec::new(),
            started: false,
            open: BTreeSet::new(),
            recorded: BTreeSet::new(),
        }
    }

    const fn is_held(&self) -> bool {
        matches!(self.standing, Standing::Held(..))
    }

    fn writer(&self, said: &Said) -> Broken {
        let token = said.lease.token;
        let holds = matches!(&self.standing, Standing::Held(worker, _) if *worker == said.lease.worker);
        let stale = (token != self.token || !holds)
            .then(|| format!("{} was accepted, token {}, {:?}", said.words(), self.token, self.standing));
        let late = (self.standing == Standing::Ended).then(|| said.words());
        let lost = (said.after != self.events).then(|| format!("{} was accepted after {}", said.words(), self.events));
        vec![("one writer per run", stale), ("a terminal run accepts nothing", late), ("no append is skipped", lost)]
    }

    /// Takes an event. Says what is wrong with it.
    fn take(&mut self, event: &NewEvent) -> Option<String> {
        self.events += 1;
        let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
        let call = || data["call_id"].as_str().unwrap_or_default().to_owned();
        match event.kind {
            EventType::AgentStarted if std::mem::replace(&mut self.started, true) => Some("a second start".to_owned()),
            EventType::ToolExecuting if !self.open.insert(call()) => Some(format!("{} opens again", call())),
            EventType::ToolCompleted => {
                if call().starts_with('c') && matches!(data["status"].as_str(), Some("ok" | "error" | "timeout")) {
                    self.recorded.insert(call());
                }
                (!self.open.remove(&call())).then(|| format!("{} closes and was not open", call()))
            }
            EventType::StepCompleted => {
                if let Some("random" | "now") = data["name"].as_str() {
                    self.told.push(data["result"].clone());
                }
                let call = format!("c{}", data["index"]);
                (!self.recorded.insert(call.clone())).then(|| format!("{call} is recorded again"))
            }
            EventType::AgentCompleted if !self.started => Some("it completed and never started".to_owned()),
            kind if kind.is_terminal() && !self.open.is_empty() => Some(format!("{:?} open at the end", self.open)),
            _ => None,
        }
    }

    fn ask(&mut self, said: &Said) {
        for ask in &said.asks {
            let words = serde_json::from_str(ask.question.get()).unwrap_or_default();
            self.questions.insert(ask.index, Asked { kind: ask.kind, words, answered: false });
        }
        self.questions.retain(|index, _| !said.closes.contains(index));
    }

    fn change(&mut self, said: &Said) -> Broken {
        let has_end = said.events.last().is_some_and(|event| event.kind.is_terminal());
        let ends = said.change.as_ref().is_some_and(|change| change.terminal_event().is_some());
        let mut broken = vec![("an end and its event are one", (has_end != ends).then(|| said.words()))];
        match &said.change {
            Some(RunChange::Waiting { until, children, .. }) => {
                let wakes = until.is_some() || !children.is_empty() || !self.questions.is_empty() || self.stop;
                broken.push(("what is parked has a wake-up", (!wakes).then(|| said.words())));
                self.standing = Standing::Parked(*until, children.clone());
            }
            Some(RunChange::HandedOver) => self.standing = Standing::Queued,
            _ if ends => self.standing = Standing::Ended,
            _ => {}
        }
        broken
    }
}
