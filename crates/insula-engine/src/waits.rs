//! What a run's calls wait for, and whether there is nothing else to do than wait.
//!
//! A run whose every call in progress is a wait (for an answer, a time, a child) needs no process: it can be parked, a row
//! in the store and nothing in memory. A call that does something keeps the run here.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_context::{RunId, Timestamp};
use insula_infra::WaitFor;
use tokio::sync::Notify;

/// One call that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub reason: WaitFor,
    /// When it is over by itself.
    pub until: Option<Timestamp>,
    /// The run whose end it waits for.
    pub child: Option<Child>,
}

/// A run whose end another waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub run: RunId,
    /// Its class.
    pub agent: String,
    pub said: Said,
}

/// Whether the log says that a run waits for its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Yes,
    NotYet,
}

/// Everything that a parked run waits for, by the call's place in the order of calls.
pub(crate) type Parked = BTreeMap<u32, Waiting>;

#[derive(Debug, Default)]
struct State {
    working: usize,
    /// Whether the agent's own code is running: it may be about to do something beside what it waits for.
    polled: bool,
    waiting: Parked,
    /// Somebody wants the run to go on elsewhere.
    leaving: bool,
}

impl State {
    fn is_quiet(&self) -> bool {
        self.working == 0 && !self.waiting.is_empty()
    }
}

/// Why a run leaves this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It only waits.
    Quiet,
    /// The process is to end.
    HandedOver,
}

/// The calls in progress of one run.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    state: Mutex<State>,
    changed: Notify,
}

impl Waits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells the driver where that makes a difference to it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        let before = state.is_quiet();
        change(&mut state);
        let news = before || state.is_quiet();
        drop(state);
        if news {
            self.changed.notify_one();
        }
    }

    /// The agent is polled. A poll is no news: an agent that looks at its watch still only waits.
    pub(crate) fn begin_poll(&self) {
        self.state().polled = true;
    }

    pub(crate) fn end_poll(&self) {
        self.state().polled = false;
    }

    pub(crate) fn begin_work(&self) {
        self.change(|state| state.working += 1);
    }

    pub(crate) fn end_work(&self) {
        self.change(|state| state.working -= 1);
    }

    pub(crate) fn begin_wait(&self, index: u32, waiting: Waiting) {
        self.change(|state| {
            state.waiting.insert(index, waiting);
        });
    }

    pub(crate) fn end_wait(&self, index: u32) {
        self.change(|state| {
            state.waiting.remove(&index);
        });
    }

    /// Asks the run to go on elsewhere.
    pub(crate) fn hand_over(&self) {
        self.state().leaving = true;
        self.changed.notify_one();
    }

    /// What the run waits for, if that is all it does.
    pub(crate) fn quiet(&self) -> Option<Parked> {
        let state = self.state();
        (state.is_quiet() && !state.polled).then(|| state.waiting.clone())
    }

    /// Waits until the run has only waited for `linger`, or is to go on elsewhere. Cancellation safe. For one caller.
    pub(crate) async fn departure(&self, linger: Duration) -> Departure {
        loop {
            let (quiet, leaving) = {
                let state = self.state();
                (state.is_quiet(), state.leaving)
            };
            if leaving {
                return Departure::HandedOver;
            }
            if !quiet {
                self.changed.notified().await;
            } else if tokio::time::timeout(linger, self.changed.notified()).await.is_err() {
                return Departure::Quiet;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(1);

    fn asked() -> Waiting {
        Waiting { reason: WaitFor::Human, until: None, child: None }
    }

    async fn leaves_at_once(waits: &Waits) -> bool {
        tokio::time::timeout(LINGER * 2, waits.departure(LINGER)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_leaves_when_it_only_waits_and_not_while_it_does_something() {
        let waits = Waits::default();
        assert!(!leaves_at_once(&waits).await, "it neither waits nor works: its own code runs");
        waits.begin_wait(0, asked());
        waits.begin_work();
        assert!(!leaves_at_once(&waits).await, "a tool is being called beside the question");
        assert_eq!(waits.quiet(), None);
        waits.end_work();
        assert!(leaves_at_once(&waits).await);
        assert_eq!(waits.quiet(), Some(Parked::from([(0, asked())])));
        waits.end_wait(0);
        assert!(!leaves_at_once(&waits).await, "the answer came");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_in_time_starts_the_patience_anew() {
        let waits = Waits::default();
        waits.begin_wait(0, asked());
        let departure = waits.departure(LINGER);
        tokio::pin!(departure);
        assert!(tokio::time::timeout(LINGER * 9 / 10, &mut departure).await.is_err());
        waits.end_wait(0);
        waits.begin_wait(1, asked());
        assert!(tokio::time::timeout(LINGER * 9 / 10, &mut departure).await.is_err());
        assert_eq!(departure.await, Departure::Quiet);
    }
}
