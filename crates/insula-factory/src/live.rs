//! The count of what lives, spread over shards so that users do not wait for each other.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use insula_agent::InstanceMarker;
use insula_context::{UserExecutionContext, UserScope};
use insula_registry::AgentClass;

use crate::{IsolationReport, LiveInstance, Violation};

const SHARDS: usize = 16;
const VIOLATIONS_KEPT: usize = 1_000;

/// What the table knows of one instance.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) marker: InstanceMarker,
    pub(crate) context: UserExecutionContext,
    pub(crate) class: Arc<AgentClass>,
    pub(crate) released: AtomicBool,
    /// Tells apart two instances with one mark, which is itself a violation to be seen.
    serial: u64,
}

type Key = (UserScope, InstanceMarker, u64);
type Shard = BTreeMap<Key, Arc<Entry>>;

#[derive(Debug, Default)]
pub(crate) struct LiveTable {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    live: AtomicUsize,
    made: AtomicU64,
    violations: Mutex<VecDeque<Violation>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LiveTable {
    pub(crate) fn enter(
        &self,
        marker: InstanceMarker,
        context: UserExecutionContext,
        class: Arc<AgentClass>,
    ) -> Arc<Entry> {
        let serial = self.made.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry { marker, context, class, released: AtomicBool::new(false), serial });
        lock(self.shard(entry.context.scope())).insert(key(&entry), Arc::clone(&entry));
        self.live.fetch_add(1, Ordering::Relaxed);
        entry
    }

    pub(crate) fn leave(&self, entry: &Entry) {
        if lock(self.shard(entry.context.scope())).remove(&key(entry)).is_some() {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes everything of one owner out; none of it runs afterwards.
    pub(crate) fn release(&self, scope: &UserScope) -> usize {
        let mut shard = lock(self.shard(scope));
        let keys: Vec<Key> = of(&shard, scope).map(key).collect();
        for key in &keys {
            if let Some(entry) = shard.remove(key) {
                entry.released.store(true, Ordering::Release);
            }
        }
        self.live.fetch_sub(keys.len(), Ordering::Relaxed);
        keys.len()
    }

    pub(crate) fn of_owner(&self, scope: &UserScope) -> Vec<LiveInstance> {
        of(&lock(self.shard(scope)), scope).map(describe).collect()
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    pub(crate) fn violated(&self, violation: Violation) {
        let mut violations = lock(&self.violations);
        if violations.len() == VIOLATIONS_KEPT {
            violations.pop_front();
        }
        violations.push_back(violation);
    }

    pub(crate) fn report(&self) -> IsolationReport {
        let mut live: Vec<LiveInstance> = Vec::with_capacity(self.live());
        for shard in &self.shards {
            live.extend(lock(shard).values().map(|entry| describe(entry)));
        }
        live.sort_by(|a, b| (&a.scope, a.marker).cmp(&(&b.scope, b.marker)));
        let mut violations: Vec<Violation> = lock(&self.violations).iter().cloned().collect();
        violations.extend(shared_markers(&live));
        IsolationReport { live, violations }
    }

    fn shard(&self, scope: &UserScope) -> &Mutex<Shard> {
        let hash = self.hasher.hash_one(scope);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

fn key(entry: &Entry) -> Key {
    (entry.context.scope().clone(), entry.marker, entry.serial)
}

fn of<'a>(shard: &'a Shard, scope: &'a UserScope) -> impl Iterator<Item = &'a Entry> {
    let first = (scope.clone(), InstanceMarker::new(0), 0);
    shard.range(first..).take_while(move |((owner, ..), _)| owner == scope).map(|(_, entry)| &**entry)
}

fn describe(entry: &Entry) -> LiveInstance {
    LiveInstance {
        marker: entry.marker,
        scope: entry.context.scope().clone(),
        run_id: entry.context.run().clone(),
        class: entry.class.name().to_string(),
        created_at: entry.context.created_at(),
    }
}

fn shared_markers(live: &[LiveInstance]) -> Vec<Violation> {
    let mut times = HashMap::<InstanceMarker, usize>::new();
    for instance in live {
        *times.entry(instance.marker).or_default() += 1;
    }
    let shared = times.into_iter().filter(|(_, times)| *times > 1);
    shared.map(|(marker, _)| Violation::SharedMarker { marker }).collect()
}
