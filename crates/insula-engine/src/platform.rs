//! What all engines of one factory share.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use insula_context::{CancelReason, Canceller, Clock, IdSource, RunId, Timestamp, UserScope};
use insula_factory::{AgentInstanceFactory, Availability, Ports};
use insula_infra::{Answer, Backend, WorkerId};
use insula_registry::Dependency;
use serde::Serialize;
use serde_json::Value;
use tokio::{
    sync::{Notify, oneshot},
    task::AbortHandle,
};

use crate::{
    Error, Limits, ToolCatalog, breaker::Breakers, engines::EngineTable, lanes::Lanes, limits::Ledger, waits::Waits,
};

pub(crate) struct Platform {
    pub instances: AgentInstanceFactory,
    pub backend: Backend,
    pub ports: Ports,
    pub tools: Arc<dyn ToolCatalog>,
    pub ledger: Arc<Ledger>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub worker: WorkerId,
    pub lanes: Lanes,
    pub live: LiveRuns,
    pub engines: EngineTable,
    pub counters: Counters,
    pub audit: AuditTrail,
    /// What keeps failing.
    pub breakers: Arc<Breakers>,
    /// Work that outlives handles: leases, claims, sweeps.
    pub background: Background,
}

impl Platform {
    pub(crate) fn limits(&self) -> &Limits {
        self.ledger.limits()
    }
}

/// What the background task is told.
#[derive(Default)]
pub(crate) struct Background {
    pub task: Mutex<Option<AbortHandle>>,
    pub claiming: AtomicBool,
    pub closed: AtomicBool,
    pub wake: Arc<Notify>,
    /// Runs from the queue that are being worked on.
    pub claimed: AtomicUsize,
    /// Somebody looks at the calendar just now.
    pub firing: AtomicBool,
}

/// What the process has done so far, and what it holds now.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub engines_created: AtomicU64,
    pub engines_cleaned: AtomicU64,
    pub runs_started: AtomicU64,
    pub runs_completed: AtomicU64,
    pub runs_failed: AtomicU64,
    pub runs_cancelled: AtomicU64,
    pub agents_abandoned: AtomicU64,
}

/// A truthful count of what the process holds and has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Engines that exist now.
    pub engines_live: usize,
    /// Engines that were ever created.
    pub engines_created: u64,
    /// Engines that were shut down, dropped or swept.
    pub engines_cleaned: u64,
    /// Instances that exist now.
    pub instances_live: usize,
    /// Instances that were ever made.
    pub instances_made: u64,
    /// Runs that are in progress or wait for their turn in this process.
    pub runs_live: usize,
    /// Runs whose agent was started.
    pub runs_started: u64,
    /// Runs that ended with a result.
    pub runs_completed: u64,
    /// Runs that failed.
    pub runs_failed: u64,
    /// Runs that were stopped.
    pub runs_cancelled: u64,
    /// Agents that did not let themselves be stopped within the grace time.
    pub agents_abandoned: u64,
    /// Users that have an engine, a run or a connection now.
    pub users_live: usize,
    /// Threads that poll agents now.
    pub agent_threads: usize,
}

impl Platform {
    pub(crate) fn metrics(&self) -> Metrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let counters = &self.counters;
        Metrics {
            engines_live: self.engines.live(),
            engines_created: get(&counters.engines_created),
            engines_cleaned: get(&counters.engines_cleaned),
            instances_live: self.instances.live(),
            instances_made: self.instances.made(),
            runs_live: self.live.count(),
            runs_started: get(&counters.runs_started),
            runs_completed: get(&counters.runs_completed),
            runs_failed: get(&counters.runs_failed),
            runs_cancelled: get(&counters.runs_cancelled),
            agents_abandoned: get(&counters.agents_abandoned),
            users_live: self.ledger.users(),
            agent_threads: self.lanes.threads(),
        }
    }
}

/// Says which dependencies of a class are there.
pub(crate) struct Configured {
    pub database: bool,
    pub cache: bool,
    pub services: Vec<String>,
    pub tools: Arc<dyn ToolCatalog>,
}

impl Availability for Configured {
    fn has(&self, scope: &UserScope, need: &Dependency) -> bool {
        match need {
            Dependency::Database => self.database,
            Dependency::Cache => self.cache,
            Dependency::Tool(name) => self.tools.tool(scope, name).is_some(),
            Dependency::Service(name) => self.services.contains(name),
            _ => false,
        }
    }
}

const SHARDS: usize = 16;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct LiveRun {
    canceller: Canceller,
    /// The open questions by their place in the order of calls, and where their answers go.
    questions: BTreeMap<u32, oneshot::Sender<Value>>,
    leaves: Leaves,
}

/// What becomes of a run when its process is to end.
pub(crate) enum Leaves {
    /// It was taken from the queue: another process can go on with it.
    HandedOver(Arc<Waits>),
    /// It goes where the run goes that it is a child of.
    WithItsParent,
    /// Somebody waits for it in this process: it ends.
    Stopped,
}

type Runs = HashMap<(UserScope, RunId), LiveRun>;

/// The runs of this process, so that they can be stopped and answered by id.
#[derive(Default)]
pub(crate) struct LiveRuns {
    shards: [Mutex<Runs>; SHARDS],
    hasher: RandomState,
}

impl LiveRuns {
    fn shard(&self, scope: &UserScope) -> &Mutex<Runs> {
        &self.shards[usize::try_from(self.hasher.hash_one(scope) % SHARDS as u64).unwrap_or(0)]
    }

    /// Enters a run; a second one of the same id is refused.
    pub(crate) fn enter(
        &self,
        scope: &UserScope,
        run: &RunId,
        canceller: Canceller,
        leaves: Leaves,
    ) -> Result<(), Error> {
        let mut runs = lock(self.shard(scope));
        match runs.entry((scope.clone(), run.clone())) {
            std::collections::hash_map::Entry::Occupied(_) => {
                Err(insula_infra::Error::RunExists { run: run.clone() }.into())
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(LiveRun { canceller, questions: BTreeMap::new(), leaves });
                Ok(())
            }
        }
    }

    /// The runs of one owner.
    pub(crate) fn of(&self, scope: &UserScope) -> Vec<RunId> {
        lock(self.shard(scope)).keys().filter(|(owner, _)| owner == scope).map(|(_, run)| run.clone()).collect()
    }

    pub(crate) fn leave(&self, scope: &UserScope, run: &RunId) {
        lock(self.shard(scope)).remove(&(scope.clone(), run.clone()));
    }

    /// Stops a run of this process and says whether there is one.
    pub(crate) fn cancel(&self, scope: &UserScope, run: &RunId, reason: CancelReason) -> bool {
        let runs = lock(self.shard(scope));
        let Some(live) = runs.get(&(scope.clone(), run.clone())) else { return false };
        let canceller = live.canceller.clone();
        // Whoever is woken may want the same shard.
        drop(runs);
        canceller.cancel(reason);
        true
    }

    /// Opens a question. It is closed by its answer.
    pub(crate) fn ask(&self, scope: &UserScope, run: &RunId, index: u32) -> oneshot::Receiver<Value> {
        let (sender, receiver) = oneshot::channel();
        if let Some(live) = lock(self.shard(scope)).get_mut(&(scope.clone(), run.clone())) {
            live.questions.insert(index, sender);
        }
        receiver
    }

    /// Hands an answer to whoever waits for it here. It is in the store: nothing is lost when nobody does.
    pub(crate) fn answer(&self, scope: &UserScope, run: &RunId, answer: &Answer) {
        let sender = {
            let mut runs = lock(self.shard(scope));
            runs.get_mut(&(scope.clone(), run.clone())).and_then(|live| live.questions.remove(&answer.index))
        };
        if let (Some(sender), Ok(value)) = (sender, serde_json::from_str(answer.answer.get())) {
            let _nobody_waits = sender.send(value);
        }
    }

    /// Hands over the runs that may go on elsewhere, and stops those that somebody waits for here.
    pub(crate) fn leave_all(&self, reason: &CancelReason) {
        let mut stopped = Vec::new();
        for shard in &self.shards {
            for live in lock(shard).values() {
                match &live.leaves {
                    Leaves::HandedOver(waits) => waits.hand_over(),
                    Leaves::WithItsParent => {}
                    Leaves::Stopped => stopped.push(live.canceller.clone()),
                }
            }
        }
        // Whoever is woken may want a shard.
        stopped.into_iter().for_each(|canceller| canceller.cancel(reason.clone()));
    }

    pub(crate) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    pub(crate) fn cancel_all(&self, reason: &CancelReason) {
        let cancellers: Vec<Canceller> = self
            .shards
            .iter()
            .flat_map(|s| lock(s).values().map(|r| r.canceller.clone()).collect::<Vec<_>>())
            .collect();
        for canceller in cancellers {
            canceller.cancel(reason.clone());
        }
    }
}

/// Something that was refused and that an operator may want to know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who tried.
    #[serde(flatten)]
    pub scope: UserScope,
    /// In which run.
    pub run_id: RunId,
    /// What was tried.
    pub action: String,
    /// Why it was refused.
    pub refusal: String,
}

/// The last refusals, oldest first.
#[derive(Debug, Default)]
pub(crate) struct AuditTrail(Mutex<VecDeque<AuditEntry>>);

impl AuditTrail {
    const KEPT: usize = 10_000;

    pub(crate) fn refused(&self, entry: AuditEntry) {
        tracing::warn!(target: "insula::audit", user = %entry.scope, run = %entry.run_id, action = entry.action,
            refusal = entry.refusal, "refused");
        let mut entries = lock(&self.0);
        if entries.len() == Self::KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn of(&self, scope: &UserScope) -> Vec<AuditEntry> {
        lock(&self.0).iter().filter(|entry| entry.scope == *scope).cloned().collect()
    }
}
