//! The scoped cache.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{Clock, Timestamp, UserScope};

use super::{
    cached::{Cached, OwnerCache},
    channels::Channels,
    shard::Sharded,
};
use crate::{CacheSubscription, Error, RedisManager};

#[derive(Debug)]
pub(super) struct Cache {
    clock: Arc<dyn Clock>,
    limit: usize,
    shards: Sharded<Owners>,
    channels: Channels,
}

#[derive(Debug, Default)]
struct Owners {
    caches: HashMap<UserScope, OwnerCache>,
    /// How many owners there may be before those with nothing left are looked for.
    sweep_at: usize,
}

impl Cache {
    pub(super) fn new(clock: Arc<dyn Clock>, limit: usize) -> Self {
        Self { clock, limit, shards: Sharded::new(), channels: Channels::default() }
    }

    #[cfg(test)]
    pub(super) fn owners(&self) -> usize {
        self.shards.each().map(|shard| shard.caches.len()).sum()
    }

    #[cfg(test)]
    pub(super) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Reads a value that has not expired.
    fn read<T>(&self, scope: &UserScope, key: &str, read: impl FnOnce(Option<&Cached>) -> T) -> T {
        let now = self.clock.now();
        let shard = self.shards.lock(scope);
        read(shard.caches.get(scope).and_then(|cache| cache.value(key, now)))
    }

    /// Changes an owner's values, from which the expired ones have gone.
    fn change<T>(&self, scope: &UserScope, change: impl FnOnce(&mut OwnerCache) -> T) -> T {
        let now = self.clock.now();
        let mut shard = self.shards.lock(scope);
        shard.sweep(now);
        let cache = shard.caches.entry(scope.clone()).or_default();
        cache.expire(now);
        let answer = change(cache);
        if cache.len() == 0 {
            shard.caches.remove(scope);
        }
        answer
    }
}

impl Owners {
    /// Drops what expired of owners who never came back, whenever the number of owners has doubled.
    fn sweep(&mut self, now: Timestamp) {
        if self.caches.len() < self.sweep_at {
            return;
        }
        self.caches.retain(|_, cache| {
            cache.expire(now);
            cache.len() > 0
        });
        self.sweep_at = 2 * self.caches.len() + 16;
    }
}

#[async_trait]
impl RedisManager for Cache {
    async fn get(&self, scope: &UserScope, key: &str) -> Result<Option<Bytes>, Error> {
        self.read(scope, key, |found| match found {
            None => Ok(None),
            Some(Cached::Value(value)) => Ok(Some(value.clone())),
            Some(list) => Err(wrong_type("get", key, "a plain value", list.kind())),
        })
    }

    async fn set(&self, scope: &UserScope, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), Error> {
        let expires = ttl.map(|ttl| self.clock.now().plus(ttl));
        self.change(scope, |cache| cache.put(key, Cached::Value(value), expires, self.limit))
    }

    async fn delete(&self, scope: &UserScope, key: &str) -> Result<bool, Error> {
        Ok(self.change(scope, |cache| cache.remove(key)))
    }

    async fn clear(&self, scope: &UserScope) -> Result<(), Error> {
        self.shards.lock(scope).caches.remove(scope);
        Ok(())
    }

    async fn increment(&self, scope: &UserScope, key: &str, by: i64) -> Result<i64, Error> {
        let now = self.clock.now();
        self.change(scope, |cache| {
            let sum = add(cache.value(key, now), key, by)?;
            let value = Cached::Value(Bytes::from(sum.to_string()));
            cache.put(key, value, cache.expiry(key), self.limit)?;
            Ok(sum)
        })
    }

    async fn push(&self, scope: &UserScope, key: &str, value: Bytes) -> Result<u64, Error> {
        let now = self.clock.now();
        self.change(scope, |cache| {
            if let Some(plain @ Cached::Value(_)) = cache.value(key, now) {
                return Err(wrong_type("push", key, "a list", plain.kind()));
            }
            if let Some(length) = cache.push(key, value.clone(), self.limit)? {
                return Ok(length);
            }
            cache.put(key, Cached::List(VecDeque::from([value])), None, self.limit)?;
            Ok(1)
        })
    }

    async fn range(&self, scope: &UserScope, key: &str, start: usize, count: usize) -> Result<Vec<Bytes>, Error> {
        self.read(scope, key, |found| match found {
            None => Ok(Vec::new()),
            Some(Cached::List(list)) => Ok(list.iter().skip(start).take(count).cloned().collect()),
            Some(plain) => Err(wrong_type("range", key, "a list", plain.kind())),
        })
    }

    async fn publish(&self, scope: &UserScope, channel: &str, message: Bytes) -> Result<(), Error> {
        self.channels.publish(scope, channel, message);
        Ok(())
    }

    async fn subscribe(&self, scope: &UserScope, channel: &str) -> Result<CacheSubscription, Error> {
        Ok(self.channels.subscribe(scope, channel))
    }
}

fn add(found: Option<&Cached>, key: &str, by: i64) -> Result<i64, Error> {
    let refuse = |found| wrong_type("increment", key, "a number within 64 bits", found);
    let before = match found {
        None => 0,
        Some(Cached::Value(value)) => std::str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or_else(|| refuse("another value"))?,
        Some(list) => return Err(refuse(list.kind())),
    };
    before.checked_add(by).ok_or_else(|| refuse("too large for the sum"))
}

fn wrong_type(operation: &'static str, key: &str, expected: &'static str, found: &'static str) -> Error {
    Error::WrongType { operation, key: key.to_owned(), expected, found }
}
