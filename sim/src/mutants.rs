//! Stores and engines with one mistake each. A simulation that finds none of them proves nothing.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use insula_agent::Effect;
use insula_context::{RunId, ThreadId, UserScope};
use insula_infra::{
    Append, Backend, Claimed, Commit, Committed, Error, EventType, JournalEntry, Lease, RunChange, RunQueue, WorkerId,
    conformance::{QueueLayer, mutants},
};

use crate::world::lock;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// The store takes every lease for the newest.
    IgnoresTheFencingToken,
    /// The engine forgets what its steps gave.
    SkipsTheJournal,
    /// The store says that it has written, and writes later or not at all.
    AnswersBeforeItWrites,
    /// The store lets leases live on whose worker is gone.
    NeverExpiresALease,
    /// The store forgets until when a run sleeps.
    ForgetsAWakeUp,
    /// The store hands out what somebody holds.
    HandsOutTwice,
    /// The engine takes what must not be repeated for what may be.
    RepeatsOnceEffects,
}

impl Mutant {
    /// Every mistake.
    pub const ALL: [Self; 7] = [
        Self::IgnoresTheFencingToken,
        Self::SkipsTheJournal,
        Self::AnswersBeforeItWrites,
        Self::NeverExpiresALease,
        Self::ForgetsAWakeUp,
        Self::HandsOutTwice,
        Self::RepeatsOnceEffects,
    ];

    /// The store with this mistake, below the book.
    pub(crate) fn below(mutant: Option<Self>, store: &Backend) -> Backend {
        match mutant {
            Some(Self::SkipsTheJournal | Self::RepeatsOnceEffects) | None => store.clone(),
            Some(Self::IgnoresTheFencingToken) => mutants::ignores_the_fencing_token(store.clone()),
            Some(mistake) => with(store, mistake),
        }
    }

    /// The node's ports with this mistake, above the book.
    pub(crate) fn above(mutant: Option<Self>, ports: Backend) -> Backend {
        if mutant == Some(Self::SkipsTheJournal) { with(&ports, Self::SkipsTheJournal) } else { ports }
    }

    /// What the engine takes an effect for.
    pub(crate) fn effect(mutant: Option<Self>, effect: Effect) -> Effect {
        if mutant == Some(Self::RepeatsOnceEffects) && effect == Effect::Once { Effect::Idempotent } else { effect }
    }
}

fn with(backend: &Backend, mistake: Mutant) -> Backend {
    let inner = Arc::clone(&backend.queue);
    let queue = Arc::new(Mistaken {
        inner,
        mistake,
        workers: Mutex::default(),
        given: Mutex::default(),
        heads: Mutex::default(),
    });
    Backend { queue, ..backend.clone() }
}

struct Mistaken {
    inner: Arc<dyn RunQueue>,
    mistake: Mutant,
    workers: Mutex<HashSet<WorkerId>>,
    given: Mutex<HashMap<RunId, Claimed>>,
    heads: Mutex<HashMap<(UserScope, ThreadId), u64>>,
}

impl Mistaken {
    /// Where the thread would stand with this append.
    fn grow(&self, append: &Append) -> u64 {
        let header = &append.lease.header;
        let mut heads = lock(&self.heads);
        let head = heads.entry((header.scope.clone(), header.thread.clone())).or_default();
        *head += append.events.len() as u64;
        *head
    }
}

#[async_trait]
impl QueueLayer for Mistaken {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let mut claimed = self.inner.claim(worker, lease, max, per_owner).await?;
        if self.mistake == Mutant::HandsOutTwice {
            let mut given = lock(&self.given);
            for run in &claimed {
                given.insert(run.lease.header.run.clone(), run.clone());
            }
            // The second one comes with the next claim of somebody who got nothing.
            if claimed.is_empty() {
                let next = given.keys().min().cloned();
                claimed.extend(next.and_then(|run| given.remove(&run)));
            }
        }
        Ok(claimed)
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        if self.mistake == Mutant::NeverExpiresALease {
            let known: Vec<WorkerId> = {
                let mut workers = lock(&self.workers);
                workers.insert(worker.clone());
                workers.iter().cloned().collect()
            };
            for worker in known {
                self.inner.renew(&worker, lease).await?;
            }
        }
        self.inner.renew(worker, lease).await
    }

    fn append(&self, mut append: Append) -> Commit {
        let head = self.grow(&append);
        match (self.mistake, &mut append.change) {
            (Mutant::AnswersBeforeItWrites, None) => {
                let answer = Committed { head };
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    inner.append(append).await
                });
                return Commit::ready(Ok(answer));
            }
            (Mutant::ForgetsAWakeUp, Some(RunChange::Waiting { until, .. })) => *until = None,
            _ => {}
        }
        self.inner.append(append)
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        let mut entries = self.inner.journal(lease).await?;
        if self.mistake == Mutant::SkipsTheJournal {
            entries.retain(|entry| entry.kind != EventType::StepCompleted);
        }
        Ok(entries)
    }
}
