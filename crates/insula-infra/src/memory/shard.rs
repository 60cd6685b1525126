//! One value per shard, each behind its own lock.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::{FixedState, RandomState};

use insula_context::UserScope;

/// Enough that two of a machine's cores seldom want the same one.
const SHARDS: usize = 64;

/// A map whose hash is seeded per map, and cheap: an append looks up half a dozen names.
pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// Neighbours in memory would share a cache line, and so slow one another down without sharing anything else.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(Mutex<T>);

/// One value per shard; a scope always leads to the same one.
#[derive(Debug)]
pub(super) struct Sharded<T> {
    shards: Box<[Apart<T>]>,
    /// The same in every process: the order of shards is seen by whoever works across owners, and a simulation must be
    /// able to do the same again. Who chooses a name so that it leads to a certain shard gains a shared lock.
    hasher: FixedState,
}

impl<T: Default> Sharded<T> {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Apart::default()).collect(), hasher: FixedState::default() }
    }

    /// The shard of this owner.
    pub(super) fn lock(&self, scope: &UserScope) -> MutexGuard<'_, T> {
        let place = self.hasher.hash_one(scope) as usize % SHARDS;
        lock(&self.shards[place].0)
    }

    /// Every shard in turn, one lock at a time.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(|shard| lock(&shard.0))
    }
}

/// Every writer checks before it changes anything, so what a panicking thread leaves behind is whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
