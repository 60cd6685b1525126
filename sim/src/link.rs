//! The line between one node and the store, and everything that can befall it. Once a node has crashed nothing of it
//! goes on: its calls are never answered.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_context::{RunId, UserScope};
use insula_infra::{Error, WorkerId};
use tokio::sync::Notify;

use crate::{
    fault::Fault,
    world::{World, lock},
};

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Fine,
    /// It is gone, for ever.
    Crashed,
    /// Its calls are refused at once.
    Refused,
    /// Its calls wait until this is over: the connection hangs, or the whole process stands still.
    Hung,
    /// Every call takes this long.
    Slow(Duration),
}

/// What becomes of a call that got through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// It is carried out, and the caller is told that it was not.
    AnswerLost,
}

impl Condition {
    /// The fault that it is.
    pub const fn fault(self) -> Option<Fault> {
        match self {
            Self::Fine => None,
            Self::Crashed => Some(Fault::Crash),
            Self::Refused => Some(Fault::Refused),
            Self::Hung => Some(Fault::Hung),
            Self::Slow(_) => Some(Fault::Slow),
        }
    }
}

/// How likely a single call is to fail, in 1,000.
#[derive(Debug, Clone, Copy)]
pub struct Odds {
    /// Before anything is written.
    pub before: u64,
    /// After it was written.
    pub after: u64,
    /// To take a while.
    pub delay: u64,
}

/// One incarnation of one node.
#[derive(Debug)]
pub struct Link {
    /// Its name among those that work on runs.
    pub worker: WorkerId,
    /// The world that it is part of.
    pub world: Arc<World>,
    odds: Odds,
    condition: Mutex<Condition>,
    changed: Notify,
}

impl Link {
    /// The line of a fresh node.
    pub fn new(worker: WorkerId, world: Arc<World>, odds: Odds) -> Arc<Self> {
        Arc::new(Self { worker, world, odds, condition: Mutex::new(Condition::Fine), changed: Notify::new() })
    }

    /// From now on it is like this. A crash is for ever.
    pub fn set(&self, condition: Condition) {
        let mut now = lock(&self.condition);
        if *now != Condition::Crashed {
            *now = condition;
        }
        self.changed.notify_waiters();
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        *lock(&self.condition)
    }

    /// Never returns on a node that has crashed: what an agent or a tool of it would do next is not done.
    pub async fn alive(&self) {
        if self.condition() == Condition::Crashed {
            std::future::pending::<()>().await;
        }
    }

    /// Gets a call through, or not.
    pub async fn call(&self, operation: &'static str) -> Result<Fate, Error> {
        self.reach(operation).await?;
        let rng = &self.world.rng;
        for _ in 0..rng.below(4) {
            tokio::task::yield_now().await;
        }
        if rng.chance(self.odds.delay) {
            tokio::time::sleep(Duration::from_millis(rng.between(1, 400))).await;
            // What has befallen the node meanwhile has befallen this call.
            self.reach(operation).await?;
        }
        let (before, after) = (rng.chance(self.odds.before), rng.chance(self.odds.after));
        if before && self.world.befalls(Fault::FailsBefore) {
            return Err(unavailable(operation));
        }
        // A claim whose answer is lost holds its runs for as long as the worker lives: no port tells a worker what it has.
        let lost = after && operation != "claim" && self.world.befalls(Fault::AnswerLost);
        Ok(if lost { Fate::AnswerLost } else { Fate::Answered })
    }

    async fn reach(&self, operation: &'static str) -> Result<(), Error> {
        loop {
            let changed = self.changed.notified();
            match self.condition() {
                Condition::Fine => return Ok(()),
                Condition::Crashed => std::future::pending().await,
                Condition::Refused => return Err(unavailable(operation)),
                Condition::Hung => changed.await,
                Condition::Slow(time) => {
                    tokio::time::sleep(time).await;
                    return if self.condition() == Condition::Crashed { std::future::pending().await } else { Ok(()) };
                }
            }
        }
    }

    /// Gives the answer of a call that was carried out, unless it is lost.
    pub async fn answer<T>(&self, operation: &'static str, fate: Fate, answer: Result<T, Error>) -> Result<T, Error> {
        self.alive().await;
        if fate == Fate::AnswerLost { Err(unavailable(operation)) } else { answer }
    }

    /// An operation was carried out.
    pub fn note(&self, what: &str, detail: &str) {
        self.world.note(self.worker.as_str(), what, detail);
    }

    /// Looks at what the book has to say.
    pub fn check(&self, broken: Vec<(&'static str, Option<String>)>) {
        for (invariant, broken) in broken {
            self.world.check(invariant, broken);
        }
    }

    /// Whether this node may go on with a call that is recorded already: only if another has taken its run.
    pub fn check_not_recorded(&self, scope: &UserScope, run: &RunId, call: &str) {
        let again = lock(&self.world.book).recorded(&(scope.clone(), run.clone()), call) == Some(&self.worker);
        let broken = again.then(|| format!("{run}: {call} is recorded and done again"));
        self.world.check("what is recorded is not done again", broken);
    }
}

/// The store does not answer.
pub fn unavailable(operation: &'static str) -> Error {
    Error::Unavailable { operation, component: "the simulated store", source: None }
}
