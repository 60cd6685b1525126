//! The memory backend: the executable reading of the ports, for tests and first steps. Nothing outlives the process; keys,
//! audit logs and what was used live as long as it does.
//!
//! What belongs to an owner stands in one shard, chosen by a hash of the scope, behind that shard's own lock: writes of
//! different owners do not meet. What works across owners (whose turn it is, which sleeper is due) is touched only by
//! runs that are queued, parked or taken over.
//!
//! In reading order: `shard`, `owner` and `thread` (where things stand), `queue` with `submit`, `append`, `claim`, `line`,
//! `held` and `retention`, then `stopping`, `inbox` with `asked`, `threads`, `schedules`, `budgets`, `usage`, `webhooks`,
//! and `runs`, `log`, `state`, `cache`, `quota`, `health`, `census`, `keys`, `plans`, `audit`.

mod append;
mod arrivals;
mod asked;
mod audit;
mod budgets;
mod cache;
mod cached;
mod census;
mod channels;
mod claim;
mod health;
mod held;
mod inbox;
mod keys;
mod line;
mod log;
mod owner;
mod payloads;
mod plans;
mod queue;
mod quota;
mod retention;
mod runs;
mod schedules;
mod shard;
mod state;
mod stopping;
mod store;
mod submit;
#[cfg(test)]
mod tests;
mod thread;
mod threads;
mod usage;
mod webhooks;

use std::sync::Arc;

use insula_context::{Clock, SystemClock};

use self::{audit::Ledger, cache::Cache, health::Up, keys::Keyring, plans::Plans, quota::Counters, store::Store};
use crate::{Backend, LocalSignals};

/// Ended runs that an owner may look back at, unless [`MemoryBackend::retain`] says otherwise.
pub const RETAINED_RUNS: usize = 1_000;

/// Bytes of cache that one owner may fill, unless [`MemoryBackend::cache_bytes`] says otherwise.
pub const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// A backend that keeps everything in this process. See the [module's page](self).
///
/// ```
/// let backend = insula_infra::MemoryBackend::new().retain(100).into_backend();
/// assert!(backend.cache.is_some() && backend.database.is_none());
/// ```
#[derive(Debug)]
pub struct MemoryBackend {
    clock: Arc<dyn Clock>,
    retain: usize,
    cache_bytes: usize,
}

impl MemoryBackend {
    /// An empty backend with the machine's clock.
    pub fn new() -> Self {
        Self::with(Arc::new(SystemClock::new()))
    }

    /// An empty backend with another clock. Leases, times to live and windows are counted by it alone.
    pub fn with(clock: Arc<dyn Clock>) -> Self {
        Self { clock, retain: RETAINED_RUNS, cache_bytes: CACHE_BYTES }
    }

    /// Keeps that many ended runs per owner. Older ones are forgotten together with their events and payloads, so that
    /// a process that lives long does not grow.
    #[must_use]
    pub fn retain(self, ended_runs_per_owner: usize) -> Self {
        Self { retain: ended_runs_per_owner, ..self }
    }

    /// Keeps that many bytes of cache per owner; beyond it, what was written longest ago goes first.
    #[must_use]
    pub fn cache_bytes(self, bytes_per_owner: usize) -> Self {
        Self { cache_bytes: bytes_per_owner, ..self }
    }

    /// All of its ports. There is no database: agents are told that it is unavailable.
    pub fn into_backend(self) -> Backend {
        let signals = LocalSignals::new();
        let store = Arc::new(Store::new(Arc::clone(&self.clock), signals.clone(), self.retain));
        Backend {
            queue: Arc::clone(&store) as _,
            runs: Arc::clone(&store) as _,
            log: Arc::clone(&store) as _,
            inbox: Arc::clone(&store) as _,
            schedules: Arc::clone(&store) as _,
            budgets: Arc::clone(&store) as _,
            usage: Arc::clone(&store) as _,
            webhooks: Arc::clone(&store) as _,
            census: Arc::clone(&store) as _,
            state: store,
            keys: Arc::new(Keyring::default()),
            plans: Arc::new(Plans::default()),
            audit: Arc::new(Ledger::default()),
            signals: Arc::new(signals),
            quota: Arc::new(Counters::new(Arc::clone(&self.clock))),
            health: Arc::new(Up),
            cache: Some(Arc::new(Cache::new(self.clock, self.cache_bytes))),
            database: None,
        }
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}
