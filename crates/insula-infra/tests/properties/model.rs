//! The queue as facts about runs: no lines, no alarms, no locks.

use std::collections::HashMap;

use insula_infra::{RunChange, ThreadPolicy};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Never claimed, and not to be before this time.
    Queued {
        from: u64,
    },
    /// Somebody holds it until then.
    Held {
        until: u64,
    },
    /// It sleeps, at most until then.
    Parked {
        until: Option<u64>,
    },
    /// It was given back or lost.
    Back,
    Ended,
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) owner: usize,
    thread: usize,
    /// Whether it waits for its turn in the thread.
    in_turn: bool,
    priority: i16,
    pub(super) place: Place,
    pub(super) stopped: bool,
    question: Option<u32>,
    pub(super) answered: bool,
    /// When it was first seen to be claimable, since it was claimed last.
    came: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) runs: Vec<Run>,
    /// Seconds since the beginning.
    pub(super) now: u64,
    /// Counts what happens.
    tick: u64,
    /// When each owner was served last, and since when each has something to be claimed.
    served: HashMap<usize, u64>,
    ready_since: HashMap<usize, u64>,
}

impl Model {
    fn which(&self, wanted: impl Fn(&Run) -> bool) -> Vec<usize> {
        (0..self.runs.len()).filter(|run| wanted(&self.runs[*run])).collect()
    }

    pub(super) fn held(&self) -> Vec<usize> {
        self.which(|run| matches!(run.place, Place::Held { .. }))
    }

    pub(super) fn open(&self) -> Vec<usize> {
        self.which(|run| run.place != Place::Ended)
    }

    pub(super) fn asking(&self) -> Vec<usize> {
        self.which(|run| run.question.is_some() && !run.answered && run.place != Place::Ended)
    }

    /// Those in whose way a new run of this thread would be.
    fn under_way(&self, owner: usize, thread: usize) -> Vec<usize> {
        self.which(|run| (run.owner, run.thread, run.in_turn) == (owner, thread, true) && run.place != Place::Ended)
    }

    /// Whether it is taken in.
    pub(super) fn submit(
        &mut self,
        owner: usize,
        thread: usize,
        policy: Option<ThreadPolicy>,
        priority: i16,
        delay: u64,
    ) -> bool {
        let before = self.under_way(owner, thread);
        match policy {
            Some(ThreadPolicy::Reject) if !before.is_empty() => return false,
            Some(ThreadPolicy::Interrupt | ThreadPolicy::Rollback) => before.into_iter().for_each(|run| self.stop(run)),
            _ => {}
        }
        let (place, in_turn) = (Place::Queued { from: self.now + delay }, policy.is_some());
        let (stopped, answered, question, came) = Default::default();
        self.runs.push(Run { owner, thread, in_turn, priority, place, stopped, question, answered, came });
        // One whose time is still to come is seen by the next claim.
        if delay == 0 {
            self.see(self.runs.len() - 1);
        }
        true
    }

    pub(super) fn stop(&mut self, run: usize) {
        self.runs[run].stopped = true;
        self.see(run);
    }

    /// Which question of the run is answered.
    pub(super) fn answer(&mut self, run: usize) -> u32 {
        self.runs[run].answered = true;
        self.see(run);
        self.runs[run].question.expect("it asks")
    }

    pub(super) fn write(&mut self, run: usize, change: Option<&RunChange>, asks: Option<u32>, seconds: Option<u64>) {
        let known = &mut self.runs[run];
        if change.is_some() {
            (known.question, known.answered) = (asks, false);
        }
        match change {
            None => return,
            Some(RunChange::Waiting { .. }) => known.place = Place::Parked { until: seconds.map(|s| self.now + s) },
            Some(RunChange::HandedOver) => known.place = Place::Back,
            Some(_) => known.place = Place::Ended,
        }
        if self.runs[run].place != Place::Ended {
            self.see(run);
        } else if let Some(next) = self.next_in_turn(run) {
            self.see(next);
        }
    }

    /// Who has had to wait for this run, and need not any more. One that has begun, or waits for its time alone, has not: it is
    /// seen when its time has come.
    fn next_in_turn(&self, ended: usize) -> Option<usize> {
        let Run { owner, thread, in_turn, .. } = self.runs[ended];
        let next = *self.under_way(owner, thread).first()?;
        (in_turn && next > ended && matches!(self.runs[next].place, Place::Queued { .. })).then_some(next)
    }

    fn is_claimable(&self, index: usize) -> bool {
        let run = &self.runs[index];
        let has_turn = || !run.in_turn || self.under_way(run.owner, run.thread).first() == Some(&index);
        match run.place {
            Place::Held { .. } | Place::Ended => false,
            _ if run.stopped => true,
            Place::Queued { from } => from <= self.now && has_turn(),
            Place::Parked { until } => run.answered || until.is_some_and(|until| until <= self.now),
            Place::Back => true,
        }
    }

    /// Notes that something of this run may have changed.
    fn see(&mut self, run: usize) {
        self.tick += 1;
        if self.runs[run].came.is_none() && self.is_claimable(run) {
            self.runs[run].came = Some(self.tick);
        }
    }

    /// Checks that a claim gave out what it had to, in an order in which it may.
    pub(super) fn claim(&mut self, max: usize, claimed: &[usize]) {
        self.look_around();
        let total = self.which(|run| run.came.is_some()).len();
        assert_eq!(claimed.len(), max.min(total), "of {total} claimable runs");
        for run in claimed {
            self.tick += 1;
            assert!(self.runs[*run].came.is_some(), "r{run} was not to be claimed: {:?}", self.runs[*run]);
            self.check_order(*run);
            self.check_turn(self.runs[*run].owner);
            let known = &mut self.runs[*run];
            (known.came, known.place) = (None, Place::Held { until: self.now + super::LEASE });
            let owner = known.owner;
            self.served.insert(owner, self.tick);
            if self.which(|run| run.owner == owner && run.came.is_some()).is_empty() {
                self.ready_since.remove(&owner);
            }
        }
    }

    /// What comes with time alone is seen by a claim.
    fn look_around(&mut self) {
        self.tick += 1;
        for run in 0..self.runs.len() {
            if matches!(self.runs[run].place, Place::Held { until } if until <= self.now) {
                self.runs[run].place = Place::Back;
            }
            if self.runs[run].came.is_none() && self.is_claimable(run) {
                self.runs[run].came = Some(self.tick);
            }
            if self.runs[run].came.is_some() {
                self.ready_since.entry(self.runs[run].owner).or_insert(self.tick);
            }
        }
    }

    fn check_order(&self, claimed: usize) {
        let run = &self.runs[claimed];
        let before = |other: &Run| {
            other.owner == run.owner
                && other.came.is_some()
                && (other.priority > run.priority
                    || (super::super::TELLS_ARRIVALS && other.priority == run.priority && other.came < run.came))
        };
        assert_eq!(self.which(before), [0; 0], "they come before r{claimed}");
    }

    /// Nobody is served twice while somebody else has had something to be claimed all the time.
    fn check_turn(&self, owner: usize) {
        let Some(last) = self.served.get(&owner) else { return };
        for (other, since) in &self.ready_since {
            let served = self.served.get(other).copied().unwrap_or(0);
            assert!(*other == owner || since > last || served > *last, "owner {owner} was served before {other}");
        }
    }
}
