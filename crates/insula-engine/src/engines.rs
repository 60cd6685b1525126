//! The engines that exist now, so that none is there twice and idle ones can be swept.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use insula_context::{RunId, UserScope};

use crate::{Error, engine::EngineCore};

const SHARDS: usize = 16;

type Shard = Mutex<HashMap<(UserScope, RunId), Weak<EngineCore>>>;

/// One entry per live engine.
#[derive(Default)]
pub(crate) struct EngineTable {
    shards: [Shard; SHARDS],
    hasher: RandomState,
    live: AtomicUsize,
}

fn lock(shard: &Shard) -> MutexGuard<'_, HashMap<(UserScope, RunId), Weak<EngineCore>>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EngineTable {
    fn shard(&self, scope: &UserScope) -> &Shard {
        &self.shards[usize::try_from(self.hasher.hash_one(scope) % SHARDS as u64).unwrap_or(0)]
    }

    /// Enters the engine that `make` makes; refused when there is one for the same user and run.
    pub(crate) fn enter(
        &self,
        scope: &UserScope,
        run: &RunId,
        make: impl FnOnce() -> Result<Arc<EngineCore>, Error>,
    ) -> Result<Arc<EngineCore>, Error> {
        let mut engines = lock(self.shard(scope));
        let key = (scope.clone(), run.clone());
        if engines.contains_key(&key) {
            return Err(Error::EngineExists { run: run.clone() });
        }
        let engine = make()?;
        engines.insert(key, Arc::downgrade(&engine));
        self.live.fetch_add(1, Ordering::AcqRel);
        Ok(engine)
    }

    pub(crate) fn leave(&self, scope: &UserScope, run: &RunId) {
        if lock(self.shard(scope)).remove(&(scope.clone(), run.clone())).is_some() {
            self.live.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// The engines that exist now. Collected first: what is done with one may want its shard.
    pub(crate) fn all(&self) -> Vec<Arc<EngineCore>> {
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).values().filter_map(Weak::upgrade).collect::<Vec<_>>())
            .collect()
    }

    /// The engines of one user.
    pub(crate) fn of(&self, scope: &UserScope) -> Vec<Arc<EngineCore>> {
        let engines = lock(self.shard(scope));
        engines.iter().filter(|((owner, _), _)| owner == scope).filter_map(|(_, engine)| engine.upgrade()).collect()
    }
}
