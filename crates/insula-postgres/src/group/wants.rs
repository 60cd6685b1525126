//! What the pieces of a group need to see.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use insula_context::{RunId, ThreadId, UserScope};

/// How many open runs of a thread that go in turn are needed.
pub(crate) const ALL: i64 = i64::MAX;

/// Why an owner's line is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// A run is made beside the queue: it must not be made while a wish to stop it is written down.
    Beside,
    /// A run is put into the queue, and counted.
    Submit,
    /// A wish to stop a run that may not be there.
    Stop,
}

/// What is to be locked and read. Owners stand by number.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    numbers: HashMap<UserScope, i64>,
    pub(super) lines: BTreeMap<i64, Hold>,
    pub(super) threads: BTreeSet<(i64, String)>,
    pub(super) runs: BTreeSet<(i64, String)>,
    /// Runs that belong to whom an end concerns: found by the run that is their parent.
    pub(super) children: BTreeSet<(i64, String)>,
    /// The first open runs of a thread that go in turn, and how many of them.
    pub(super) in_turn: BTreeMap<(i64, String), i64>,
    pub(super) keys: BTreeSet<(i64, String)>,
    pub(super) wishes: BTreeSet<(i64, String)>,
    pub(super) reserved: BTreeSet<(i64, String)>,
    pub(super) questions: BTreeSet<(i64, String)>,
    pub(super) open_of: BTreeSet<i64>,
    pub(super) new_runs: i64,
    pub(super) new_threads: i64,
}

impl Wants {
    pub(crate) fn new(numbers: HashMap<UserScope, i64>) -> Self {
        Self { numbers, ..Self::default() }
    }

    /// The number of an owner whom the group has entered.
    pub(crate) fn owner(&self, scope: &UserScope) -> Option<i64> {
        self.numbers.get(scope).copied()
    }

    pub(super) fn into_numbers(self) -> HashMap<UserScope, i64> {
        self.numbers
    }

    /// The strongest reason counts.
    pub(crate) fn line(&mut self, owner: i64, hold: Hold) {
        let known = self.lines.entry(owner).or_insert(hold);
        *known = hold.max(*known);
    }

    pub(super) fn held(&self, wanted: Hold) -> Vec<i64> {
        self.lines.iter().filter(|(_, hold)| **hold == wanted).map(|(owner, _)| *owner).collect()
    }

    pub(crate) fn thread(&mut self, owner: i64, thread: &ThreadId) {
        self.threads.insert((owner, thread.as_str().to_owned()));
    }

    /// A run that is to be made, in a thread that may be new.
    pub(crate) fn new_run(&mut self, owner: i64, thread: &ThreadId, run: &RunId) {
        self.thread(owner, thread);
        self.run(owner, run);
        self.wishes.insert((owner, run.as_str().to_owned()));
        self.new_runs += 1;
        self.new_threads += 1;
    }

    pub(crate) fn run(&mut self, owner: i64, run: &RunId) {
        self.runs.insert((owner, run.as_str().to_owned()));
    }

    /// What an end concerns.
    pub(crate) fn end(&mut self, owner: i64, thread: &ThreadId, run: &RunId, parent: Option<&RunId>) {
        let id = run.as_str().to_owned();
        self.children.insert((owner, id.clone()));
        self.reserved.insert((owner, id));
        match parent {
            Some(parent) => self.run(owner, parent),
            // The one that ends, and the next one.
            None => self.in_turn(owner, thread, 2),
        }
    }

    /// So many more of the first open runs of a thread that go in turn.
    pub(crate) fn in_turn(&mut self, owner: i64, thread: &ThreadId, more: i64) {
        let wanted = self.in_turn.entry((owner, thread.as_str().to_owned())).or_default();
        *wanted = wanted.saturating_add(more);
    }

    pub(crate) fn key(&mut self, owner: i64, key: &str) {
        self.keys.insert((owner, key.to_owned()));
    }

    pub(crate) fn questions(&mut self, owner: i64, run: &RunId) {
        self.questions.insert((owner, run.as_str().to_owned()));
    }

    /// Every open run of an owner.
    pub(crate) fn open_of(&mut self, owner: i64) {
        self.open_of.insert(owner);
    }
}
