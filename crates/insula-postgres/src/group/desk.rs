//! The rows that a group works on, and what is to be written of them.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{Answer, Failure, NewQuestion, NewRun, Payload, RawJson, RunStatus, Spent, UsageRow, WaitFor};

use crate::error::Server;
use crate::rows::Place;

/// An owner's line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) weight: i64,
    pub(crate) submitted: i64,
    pub(crate) claimed: i64,
    pub(super) changed: bool,
}

#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) owner: i64,
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) head: i64,
    /// When it was made, if it is to be written.
    pub(crate) is_new: Option<Timestamp>,
    pub(super) changed: bool,
}

/// What is written of a run only when it is made.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) new: Arc<NewRun>,
    pub(crate) key: Option<String>,
}

/// A run as the engine and its owner need it, as far as it is changed here.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) owner: i64,
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) thread: i64,
    pub(crate) parent: Option<String>,
    pub(crate) agent: Arc<str>,
    pub(crate) status: RunStatus,
    pub(crate) place: Option<Place>,
    pub(crate) due_at: Option<i64>,
    pub(crate) token: i64,
    pub(crate) worker: Option<String>,
    pub(crate) lease_until: Option<i64>,
    pub(crate) in_turn: bool,
    pub(crate) asked: i64,
    pub(crate) answered: i64,
    pub(crate) events: i64,
    pub(crate) first_seq: i64,
    pub(crate) last_seq: i64,
    pub(crate) last_at: i64,
    pub(crate) started_at: Option<i64>,
    pub(crate) ended_at: Option<i64>,
    pub(crate) waits_for: Option<WaitFor>,
    pub(crate) rolled_back: bool,
    pub(crate) has_call: bool,
    pub(crate) cancel: Option<CancelReason>,
    pub(crate) failure: Option<Failure>,
    pub(crate) result: Option<RawJson>,
    pub(crate) fresh: Option<Fresh>,
    /// Whether its row is to be written.
    pub(crate) changed: bool,
}

impl Default for Run {
    /// A run of nobody, in the queue.
    fn default() -> Self {
        Self {
            owner: 0,
            number: 0,
            id: String::new(),
            thread: 0,
            parent: None,
            agent: Arc::from(""),
            status: RunStatus::Queued,
            place: None,
            due_at: None,
            token: 0,
            worker: None,
            lease_until: None,
            in_turn: false,
            asked: 0,
            answered: 0,
            events: 0,
            first_seq: 0,
            last_seq: 0,
            last_at: 0,
            started_at: None,
            ended_at: None,
            waits_for: None,
            rolled_back: false,
            has_call: false,
            cancel: None,
            failure: None,
            result: None,
            fresh: None,
            changed: false,
        }
    }
}

/// A wish to stop a run that was not there.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) reason: CancelReason,
    pub(crate) asked_at: i64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub(crate) is_answered: bool,
    pub(crate) expires_at: Option<i64>,
}

/// A chunk on its way into the log.
#[derive(Debug)]
pub(super) struct ChunkRow {
    pub(super) owner: i64,
    pub(super) thread: i64,
    pub(super) first_seq: i64,
    pub(super) count: i64,
    pub(super) run: i64,
    pub(super) sum: i64,
    pub(super) body: Vec<u8>,
}

/// Everything that a group has in its hands.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) server: Server,
    pub(super) numbers: HashMap<UserScope, i64>,
    pub(super) lines: BTreeMap<i64, Line>,
    pub(super) threads: HashMap<(i64, String), Thread>,
    pub(super) runs: BTreeMap<i64, Run>,
    pub(super) by_id: HashMap<(i64, String), i64>,
    pub(super) by_key: HashMap<(i64, String), i64>,
    pub(super) wishes: HashMap<(i64, String), Wish>,
    pub(super) reserved: HashSet<(i64, String)>,
    pub(super) questions: HashMap<(i64, i64), Question>,
    pub(super) run_numbers: VecDeque<i64>,
    pub(super) thread_numbers: VecDeque<i64>,
    // What is to be written beside changed rows.
    pub(super) chunks: Vec<ChunkRow>,
    pub(super) payloads: Vec<(i64, i64, Payload)>,
    pub(super) calls: Vec<(i64, i64, RawJson)>,
    pub(super) rung: Vec<(i64, i64)>,
    pub(super) asked: Vec<(i64, i64, NewQuestion)>,
    pub(super) closed: Vec<(i64, i64, i64)>,
    pub(super) closed_all: Vec<(i64, i64)>,
    pub(super) answered: Vec<(i64, i64, Answer)>,
    pub(super) fulfilled: Vec<(i64, String)>,
    pub(super) wished: Vec<(i64, RunId, CancelReason)>,
    pub(super) spent: Vec<(i64, UserScope, RunId, Vec<Spent>)>,
    pub(super) given_back: Vec<(i64, UserScope, RunId)>,
    pub(super) sums: Vec<(i64, Arc<str>, UsageRow)>,
}

impl Desk {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            numbers: HashMap::new(),
            lines: BTreeMap::new(),
            threads: HashMap::new(),
            runs: BTreeMap::new(),
            by_id: HashMap::new(),
            by_key: HashMap::new(),
            wishes: HashMap::new(),
            reserved: HashSet::new(),
            questions: HashMap::new(),
            run_numbers: VecDeque::new(),
            thread_numbers: VecDeque::new(),
            chunks: Vec::new(),
            payloads: Vec::new(),
            calls: Vec::new(),
            rung: Vec::new(),
            asked: Vec::new(),
            closed: Vec::new(),
            closed_all: Vec::new(),
            answered: Vec::new(),
            fulfilled: Vec::new(),
            wished: Vec::new(),
            spent: Vec::new(),
            given_back: Vec::new(),
            sums: Vec::new(),
        }
    }

    pub(crate) fn owner(&self, scope: &UserScope) -> Option<i64> {
        self.numbers.get(scope).copied()
    }

    pub(crate) fn line(&mut self, owner: i64) -> &mut Line {
        let line = self.lines.entry(owner).or_insert(Line { weight: 1, submitted: 0, claimed: 0, changed: false });
        line.changed = true;
        line
    }

    /// How many submitted runs of an owner were never claimed.
    pub(crate) fn queued(&self, owner: i64) -> i64 {
        self.lines.get(&owner).map_or(0, |line| (line.submitted - line.claimed).max(0))
    }

    pub(crate) fn thread(&self, owner: i64, thread: &ThreadId) -> Option<&Thread> {
        self.threads.get(&(owner, thread.as_str().to_owned()))
    }

    /// The thread, which is made now if there is none. `None` when more were made than were asked for.
    pub(crate) fn thread_or_new(&mut self, owner: i64, thread: &ThreadId, at: Timestamp) -> Option<&mut Thread> {
        let key = (owner, thread.as_str().to_owned());
        if !self.threads.contains_key(&key) {
            let number = self.thread_numbers.pop_front()?;
            let id = key.1.clone();
            let new = Thread { owner, number, id, head: 0, is_new: Some(at), changed: false };
            self.threads.insert(key.clone(), new);
        }
        self.threads.get_mut(&key)
    }

    pub(crate) fn next_run(&mut self) -> Option<i64> {
        self.run_numbers.pop_front()
    }

    pub(crate) fn run_number(&self, owner: i64, run: &str) -> Option<i64> {
        self.by_id.get(&(owner, run.to_owned())).copied()
    }

    pub(crate) fn run_of_key(&self, owner: i64, key: &str) -> Option<&Run> {
        self.by_key.get(&(owner, key.to_owned())).and_then(|number| self.runs.get(number))
    }

    pub(crate) fn run(&self, number: i64) -> Option<&Run> {
        self.runs.get(&number)
    }

    /// A run that is changed now.
    pub(crate) fn change(&mut self, number: i64) -> Option<&mut Run> {
        let run = self.runs.get_mut(&number)?;
        run.changed = true;
        Some(run)
    }

    pub(crate) fn add_run(&mut self, run: Run) {
        let id = (run.owner, run.id.clone());
        if let Some(key) = run.fresh.as_ref().and_then(|fresh| fresh.key.clone()) {
            self.by_key.insert((run.owner, key), run.number);
        }
        self.by_id.insert(id, run.number);
        self.runs.insert(run.number, run);
    }

    /// The open runs of a thread that go in turn, oldest first, as far as they were asked for.
    pub(crate) fn in_turn(&self, thread: i64) -> Vec<i64> {
        let goes = |run: &&Run| run.thread == thread && run.in_turn && run.place.is_some();
        self.runs.values().filter(goes).map(|run| run.number).collect()
    }

    pub(crate) fn children(&self, owner: i64, parent: &str) -> Vec<i64> {
        let is_child = |run: &&Run| run.owner == owner && run.place.is_some() && run.parent.as_deref() == Some(parent);
        self.runs.values().filter(is_child).map(|run| run.number).collect()
    }

    /// The open runs of an owner, youngest first.
    pub(crate) fn open_of(&self, owner: i64) -> Vec<i64> {
        let is_open = |run: &&Run| run.owner == owner && run.place.is_some();
        self.runs.values().rev().filter(is_open).map(|run| run.number).collect()
    }

    pub(crate) fn wish(&self, owner: i64, run: &RunId) -> Option<&Wish> {
        self.wishes.get(&(owner, run.as_str().to_owned()))
    }

    /// The run that was to be stopped is there.
    pub(crate) fn fulfil(&mut self, owner: i64, run: &RunId) {
        let key = (owner, run.as_str().to_owned());
        if self.wishes.remove(&key).is_some() {
            self.fulfilled.push(key);
        }
    }

    /// The first wish for a run is kept.
    pub(crate) fn write_wish(&mut self, owner: i64, run: &RunId, reason: CancelReason, now: Timestamp) {
        let key = (owner, run.as_str().to_owned());
        self.wishes.entry(key).or_insert_with(|| Wish { reason: reason.clone(), asked_at: now.as_micros() });
        self.wished.push((owner, run.clone(), reason));
    }

    /// Puts a chunk at the end of a thread and of its run; says the thread's head then.
    pub(crate) fn log(&mut self, run: i64, thread: &(i64, String), chunk: Option<Chunked>) -> Option<i64> {
        let thread = self.threads.get_mut(thread)?;
        let Some(Chunked { body, count, sum, last_at }) = chunk else { return Some(thread.head) };
        let run = self.runs.get_mut(&run)?;
        let first_seq = thread.head + 1;
        thread.head += count;
        (thread.changed, run.changed) = (true, true);
        (run.events, run.last_seq, run.last_at) = (run.events + count, thread.head, last_at);
        if run.first_seq == 0 {
            run.first_seq = first_seq;
        }
        let (owner, thread_no, run) = (thread.owner, thread.number, run.number);
        self.chunks.push(ChunkRow { owner, thread: thread_no, first_seq, count, run, sum, body });
        Some(thread.head)
    }

    pub(crate) fn keep_payloads(&mut self, owner: i64, run: i64, payloads: &[Payload]) {
        self.payloads.extend(payloads.iter().map(|payload| (owner, run, payload.clone())));
    }

    pub(crate) fn keep_call(&mut self, owner: i64, run: i64, target: RawJson) {
        self.calls.push((owner, run, target));
    }

    /// A run has ended whose call is due now.
    pub(crate) fn ring(&mut self, owner: i64, run: i64) {
        self.rung.push((owner, run));
    }

    pub(crate) fn question(&self, run: i64, place: i64) -> Option<Question> {
        self.questions.get(&(run, place)).copied()
    }

    pub(crate) fn ask(&mut self, owner: i64, run: i64, ask: &NewQuestion) {
        let expires_at = ask.expires_at.map(Timestamp::as_micros);
        self.questions.insert((run, i64::from(ask.index)), Question { is_answered: false, expires_at });
        self.asked.push((owner, run, ask.clone()));
    }

    pub(crate) fn close(&mut self, owner: i64, run: i64, place: i64) -> Option<Question> {
        let closed = self.questions.remove(&(run, place))?;
        // One that this group has asked is not written at all.
        self.asked.retain(|(_, of, ask)| *of != run || i64::from(ask.index) != place);
        self.closed.push((owner, run, place));
        Some(closed)
    }

    pub(crate) fn close_all(&mut self, owner: i64, run: i64) {
        self.questions.retain(|(of, _), _| *of != run);
        self.asked.retain(|(_, of, _)| *of != run);
        self.closed_all.push((owner, run));
    }

    pub(crate) fn answer(&mut self, owner: i64, run: i64, answer: &Answer) {
        if let Some(question) = self.questions.get_mut(&(run, i64::from(answer.index))) {
            question.is_answered = true;
        }
        self.answered.push((owner, run, answer.clone()));
    }

    pub(crate) fn spend(&mut self, owner: i64, scope: &UserScope, run: &RunId, spent: &[Spent]) {
        self.spent.push((owner, scope.clone(), run.clone(), spent.to_vec()));
    }

    /// Gives back what a run that has ended has reserved, if it has.
    pub(crate) fn give_back(&mut self, owner: i64, scope: &UserScope, run: &RunId) {
        if self.reserved.contains(&(owner, run.as_str().to_owned())) {
            self.given_back.push((owner, scope.clone(), run.clone()));
        }
    }

    pub(crate) fn count(&mut self, owner: i64, agent: &Arc<str>, row: UsageRow) {
        self.sums.push((owner, Arc::clone(agent), row));
    }
}

/// The events of one append, encoded.
#[derive(Debug, Clone)]
pub(crate) struct Chunked {
    pub(crate) body: Vec<u8>,
    pub(crate) count: i64,
    pub(crate) sum: i64,
    pub(crate) last_at: i64,
}
