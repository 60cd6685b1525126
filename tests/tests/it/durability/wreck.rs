//! A process that is lost at one chosen write, what it left behind, and another that goes on.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use insula_context::{RunId, UserScope};
use insula_engine::{AgentThreads, ExecutionEngineFactory};
use insula_infra::{Backend, EventType, RunChange, RunRecord};

use super::{
    book::Book,
    cases::{Case, LEASE},
    tap::{Fate, Lost, Write, tap},
};
use crate::support::{Backing, ShiftedClock, events_of_run, kinds, user};

const PATIENCE: Duration = Duration::from_secs(30);

/// A write that a process is lost at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Submit,
    /// A claim that took something; the first, the second, …
    Claim(usize),
    /// The append that has this event of a run of this agent, the first, the second, …
    Event(&'static str, EventType, usize),
    /// The append that parks a run of this agent.
    Park(&'static str),
    Answer,
    Stop,
    HandOver,
}

impl Place {
    fn is(self, write: &Write) -> usize {
        let of = |append: &insula_infra::Append, agent: &str| *append.lease.header.agent == *agent;
        match (self, write) {
            (Self::Submit, Write::Submit(_))
            | (Self::Claim(_), Write::Claim(..))
            | (Self::Answer, Write::Answer(..))
            | (Self::Stop, Write::Stop(..)) => 1,
            (Self::Event(agent, kind, _), Write::Append(append)) if of(append, agent) => {
                append.events.iter().filter(|event| event.kind == kind).count()
            }
            (Self::Park(agent), Write::Append(append)) if of(append, agent) => {
                usize::from(matches!(append.change, Some(RunChange::Waiting { .. })))
            }
            (Self::HandOver, Write::Append(append)) => {
                usize::from(matches!(append.change, Some(RunChange::HandedOver)))
            }
            _ => 0,
        }
    }

    const fn nth(self) -> usize {
        match self {
            Self::Claim(n) | Self::Event(_, _, n) => n,
            _ => 1,
        }
    }

    /// Loses the process there, once.
    pub(super) fn lost(self, fate: Fate) -> Arc<Lost> {
        let seen = Mutex::new(0);
        Lost::at(move |write| {
            let mut seen = seen.lock().unwrap();
            let before = *seen;
            *seen += self.is(write);
            if before < self.nth() && *seen >= self.nth() { fate } else { Fate::GoOn }
        })
    }
}

/// What a lost process left behind.
pub(super) struct Wreck {
    pub(super) case: Case,
    pub(super) backend: Backend,
    pub(super) book: Book,
    clock: Arc<ShiftedClock>,
    /// What must outlive the backend.
    _backing: Option<Backing>,
}

impl Wreck {
    /// Tells a story until the process is lost at `place`.
    pub(super) async fn of(backing: &Backing, case: &str, place: Place, fate: Fate) -> Self {
        let mut wreck = Self::on(backing.open_at(&ShiftedClock::new()), case, None);
        // Where two hurry, the story may have ended before it came to the place: then it is told anew.
        for _ in 0..50 {
            if wreck.comes_to(place, fate).await {
                return wreck;
            }
            let fresh = backing.another();
            wreck = Self::on(fresh.open_at(&ShiftedClock::new()), case, Some(fresh));
        }
        panic!("{:?} always ended before {place:?}", wreck.case);
    }

    fn on((backend, clock): (Backend, Arc<ShiftedClock>), case: &str, backing: Option<Backing>) -> Self {
        let case = Case::named(case).expect("there is such a story");
        Self { case, backend, book: Book::here(), clock, _backing: backing }
    }

    /// Goes on with it in another process, which is lost as well.
    pub(super) async fn again(&self, place: Place, fate: Fate) {
        self.lease_is_over();
        assert!(self.comes_to(place, fate).await, "{:?} ended before {place:?}", self.case);
    }

    /// Tells the story, and says whether the process was lost at the place.
    async fn comes_to(&self, place: Place, fate: Fate) -> bool {
        let (lost, ended) = (place.lost(fate), AtomicBool::new(false));
        let factory = self.case.engine(tap(&self.backend, Arc::clone(&lost) as _), &self.book, AgentThreads::Runtime);
        let telling = async {
            self.case.tell(&factory, &self.book).await;
            ended.store(true, Ordering::SeqCst);
        };
        let losing = async {
            tokio::select! {
                () = lost.wait() => {}
                () = telling => {}
            }
        };
        assert!(tokio::time::timeout(PATIENCE, losing).await.is_ok(), "{:?} never comes to {place:?}", self.case);
        // Whatever it still does reaches nobody.
        std::mem::forget(factory);
        !ended.load(Ordering::SeqCst)
    }

    fn lease_is_over(&self) {
        self.clock.advance(LEASE + Duration::from_secs(1));
    }

    /// Another process, for which the lease is over.
    pub(super) fn another(&self) -> ExecutionEngineFactory {
        self.lease_is_over();
        self.case.engine(self.backend.clone(), &self.book, AgentThreads::Runtime)
    }

    /// Goes on in another process until all has ended.
    pub(super) async fn go_on(&self) {
        let factory = self.another();
        let told = tokio::time::timeout(PATIENCE, self.case.tell(&factory, &self.book)).await;
        assert!(told.is_ok(), "{:?} does not end: {:?}", self.case, self.log().await);
    }

    pub(super) fn owner() -> UserScope {
        user("ada")
    }

    pub(super) async fn record(&self) -> Option<RunRecord> {
        self.backend.runs.run(&Self::owner(), &self.case.run()).await.unwrap()
    }

    /// The log of the story's own run.
    pub(super) async fn log(&self) -> Vec<&'static str> {
        self.log_of(&self.case.run()).await
    }

    pub(super) async fn log_of(&self, run: &RunId) -> Vec<&'static str> {
        kinds(&events_of_run(&self.backend, &Self::owner(), run).await)
    }

    /// What was really done, in order.
    pub(super) fn done(&self) -> Vec<String> {
        self.book.notes().into_iter().map(|(what, _)| what).filter(|what| what != "stopped").collect()
    }
}
