//! Counts per owner, in windows.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use insula_context::{Clock, Timestamp, UserScope};

use super::shard::Sharded;
use crate::{Error, Quota, RateLimit, Taken};

#[derive(Debug)]
pub(super) struct Counters {
    clock: Arc<dyn Clock>,
    shards: Sharded<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    open: HashMap<UserScope, HashMap<String, Window>>,
    /// How many owners there may be before those with nothing left are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Window {
    ends: Timestamp,
    taken: u64,
}

impl Counters {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shards: Sharded::new() }
    }

    #[cfg(test)]
    pub(super) fn owners(&self) -> usize {
        self.shards.each().map(|shard| shard.open.len()).sum()
    }
}

#[async_trait]
impl Quota for Counters {
    async fn take(&self, scope: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error> {
        let now = self.clock.now();
        Ok(self.shards.lock(scope).take(scope, limit, amount, now))
    }
}

impl Windows {
    fn take(&mut self, scope: &UserScope, limit: &RateLimit, amount: u64, now: Timestamp) -> Taken {
        self.sweep(now);
        let open = self.open.get(scope).and_then(|windows| windows.get(&limit.name)).filter(|open| open.ends > now);
        let (ends, before) = open.map_or((now.plus(limit.window), 0), |open| (open.ends, open.taken));
        match before.checked_add(amount).filter(|taken| *taken <= limit.max) {
            None => Taken::Refused { retry_after: ends.since(now) },
            Some(taken) => {
                let windows = self.open.entry(scope.clone()).or_default();
                windows.insert(limit.name.clone(), Window { ends, taken });
                Taken::Granted { left: limit.max - taken }
            }
        }
    }

    /// Drops windows that have ended, whenever the number of owners has doubled.
    fn sweep(&mut self, now: Timestamp) {
        if self.open.len() < self.sweep_at {
            return;
        }
        self.open.retain(|_, windows| {
            windows.retain(|_, window| window.ends > now);
            !windows.is_empty()
        });
        self.sweep_at = 2 * self.open.len() + 16;
    }
}
