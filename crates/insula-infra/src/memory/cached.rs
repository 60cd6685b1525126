//! The cached values of one owner: bounded, and gone when their time is over.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use insula_context::Timestamp;

use crate::Error;

/// What an entry weighs beside its key and its value.
const ENTRY_BYTES: usize = 64;

/// A value, or a list of them.
#[derive(Debug, Clone)]
pub(super) enum Cached {
    Value(Bytes),
    List(VecDeque<Bytes>),
}

#[derive(Debug)]
struct Slot {
    cached: Cached,
    bytes: usize,
    number: u64,
    expires: Option<Timestamp>,
}

/// One owner's values.
#[derive(Debug, Default)]
pub(super) struct OwnerCache {
    slots: HashMap<Arc<str>, Slot>,
    /// In the order in which they were written for the first time or anew.
    by_age: BTreeMap<u64, Arc<str>>,
    by_expiry: BTreeSet<(Timestamp, u64)>,
    bytes: usize,
    drawn: u64,
}

impl OwnerCache {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The value at a key that has not expired.
    pub(super) fn value(&self, key: &str, now: Timestamp) -> Option<&Cached> {
        let slot = self.slots.get(key).filter(|slot| slot.expires.is_none_or(|at| at > now))?;
        Some(&slot.cached)
    }

    /// When the value at a key ends.
    pub(super) fn expiry(&self, key: &str) -> Option<Timestamp> {
        self.slots.get(key)?.expires
    }

    pub(super) fn remove(&mut self, key: &str) -> bool {
        let Some(slot) = self.slots.remove(key) else { return false };
        self.bytes -= slot.bytes;
        self.by_age.remove(&slot.number);
        if let Some(at) = slot.expires {
            self.by_expiry.remove(&(at, slot.number));
        }
        true
    }

    /// Writes a value, and makes room for it where the owner has more than `limit` bytes.
    pub(super) fn put(
        &mut self,
        key: &str,
        cached: Cached,
        expires: Option<Timestamp>,
        limit: usize,
    ) -> Result<(), Error> {
        let bytes = key.len() + ENTRY_BYTES + cached.bytes();
        refuse_large(bytes, limit)?;
        self.remove(key);
        self.drawn += 1;
        let (key, number): (Arc<str>, _) = (Arc::from(key), self.drawn);
        self.by_age.insert(number, Arc::clone(&key));
        if let Some(at) = expires {
            self.by_expiry.insert((at, number));
        }
        self.slots.insert(key, Slot { cached, bytes, number, expires });
        self.bytes += bytes;
        self.make_room(limit);
        Ok(())
    }

    /// Appends to a list that is there, and says its length.
    pub(super) fn push(&mut self, key: &str, value: Bytes, limit: usize) -> Result<Option<u64>, Error> {
        let Some(slot) = self.slots.get_mut(key) else { return Ok(None) };
        let Cached::List(list) = &mut slot.cached else { return Ok(None) };
        let more = value.len() + ENTRY_BYTES;
        refuse_large(slot.bytes + more, limit)?;
        list.push_back(value);
        let length = list.len() as u64;
        slot.bytes += more;
        self.bytes += more;
        self.make_room_beside(key, limit);
        Ok(Some(length))
    }

    /// Drops what has expired.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((_, number)) = self.by_expiry.first().copied().filter(|(at, _)| *at <= now) {
            match self.by_age.get(&number).cloned() {
                Some(key) => self.remove(&key),
                None => self.by_expiry.pop_first().is_some(),
            };
        }
    }

    fn make_room(&mut self, limit: usize) {
        self.make_room_beside("", limit);
    }

    /// Drops the oldest entries but `kept`. One entry alone is never over the limit, so this ends in time.
    fn make_room_beside(&mut self, kept: &str, limit: usize) {
        while self.bytes > limit {
            let Some(oldest) = self.by_age.values().find(|key| ***key != *kept).cloned() else { return };
            self.remove(&oldest);
        }
    }
}

impl Cached {
    fn bytes(&self) -> usize {
        match self {
            Self::Value(value) => value.len(),
            Self::List(list) => list.iter().map(|value| value.len() + ENTRY_BYTES).sum(),
        }
    }

    /// What it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Value(_) => "a plain value",
            Self::List(_) => "a list",
        }
    }
}

fn refuse_large(bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::TooLarge { what: "a cached value, in bytes,", size: bytes as u64, limit: limit as u64 })
}
