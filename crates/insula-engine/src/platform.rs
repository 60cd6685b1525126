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
    Error, Limits, ToolCatalog, Traces, breaker::Breakers, engines::EngineTable, lanes::Lanes, limits::Ledger,
    waits::Waits,
};

pub(crate) struct Platform {
    pub instances: AgentInstanceFactory,
    pub backend: Backend,
    pub ports: Ports,
    pub tools: Arc<dyn ToolCatalog>,
    pub ledger: Arc<Ledger>,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn IdSource>,
    pub traces: Arc<dyn Traces>,
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
    /// What it waits for, and when it goes on elsewhere.
    leaves: Leaves,
    waits: Arc<Waits>,
}

/// When a run leaves this process without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// It came from the queue: when the process is to end, and when its lease was lost.
    AtShutdown,
    /// It is a child: when its parent does, and when its lease was lost.
    WithItsParent,
    /// Somebody here waits for it: only when its lease was lost.
    WhenOusted,
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
        (leaves, waits): (Leaves, Arc<Waits>),
    ) -> Result<(), Error> {
        let mut runs = lock(self.shard(scope));
        match runs.entry((scope.clone(), run.clone())) {
            std::collections::hash_map::Entry::Occupied(_) => {
                Err(insula_infra::Error::RunExists { run: run.clone() }.into())
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(LiveRun { canceller, questions: BTreeMap::new(), leaves, waits });
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

    /// Makes a run leave this process without an end, and says whether there is one.
    pub(crate) fn oust(&self, scope: &UserScope, run: &RunId) -> bool {
        let waits = lock(self.shard(scope)).get(&(scope.clone(), run.clone())).map(|live| Arc::clone(&live.waits));
        waits.inspect(|waits| waits.hand_over()).is_some()
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

    /// Asks the runs that may go on elsewhere to do so.
    pub(crate) fn hand_over(&self) {
        self.each(|live| (live.leaves == Leaves::AtShutdown).then(|| Arc::clone(&live.waits)))
            .iter()
            .for_each(|waits| waits.hand_over());
    }

    /// What is wanted of the runs, in the order of their names. Whoever is told then may want a shard.
    fn each<T>(&self, wanted: impl Fn(&LiveRun) -> Option<T>) -> Vec<T> {
        let mut found: Vec<_> = Vec::new();
        for shard in &self.shards {
            found.extend(lock(shard).iter().filter_map(|(run, live)| Some((run.clone(), wanted(live)?))));
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found.into_iter().map(|(_, wanted)| wanted).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Stops the runs that cannot go on elsewhere.
    pub(crate) fn cancel_all(&self, reason: &CancelReason) {
        // Each of the others is leaving, alone or with its parent: a wish to stop would come before that.
        let stay = |live: &LiveRun| (live.leaves == Leaves::WhenOusted).then(|| live.canceller.clone());
        self.each(stay).iter().for_each(|canceller| canceller.cancel(reason.clone()));
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
