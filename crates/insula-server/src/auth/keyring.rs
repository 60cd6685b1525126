//! What one process remembers of API keys, so that not every request reads the store: what they are worth, for a second;
//! which ones it knows to be worthless, and which uses were noted, for a minute; who wants to be told.
//!
//! Whatever is remembered can be lost without harm: the store knows better, and is asked.

use std::{collections::HashMap, sync::Arc, time::Duration};

use insula_context::Timestamp;
use tokio::sync::watch;

use super::{fading::Fading, keys::KnownKey};

/// How long what the store said about a key is believed.
pub(super) const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// How much of a key's use is noted: the last one to this precision.
pub(super) const NOTED_EVERY: Duration = Duration::from_secs(60);

/// Half of the keys that are remembered at most. Further ones are read from the store for each request.
const HALF: usize = 16 * 1024;

/// Uses that wait to be written, at most. Further ones are noted with a later request.
const UNWRITTEN: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Keyring {
    known: Fading<Arc<KnownKey>>,
    worthless: Fading<()>,
    noted: Fading<()>,
    unwritten: Vec<(String, Timestamp)>,
    watched: HashMap<String, watch::Sender<bool>>,
}

impl Keyring {
    pub(super) fn new() -> Self {
        Self {
            known: Fading::new(BELIEVED_FOR, HALF),
            // A read that began before the revocation must find it here when it comes back, however slow it was.
            worthless: Fading::new(NOTED_EVERY, HALF),
            noted: Fading::new(NOTED_EVERY, HALF),
            unwritten: Vec::new(),
            watched: HashMap::new(),
        }
    }

    pub(super) fn known(&self, id: &str, now: Timestamp) -> Option<Arc<KnownKey>> {
        self.known.look(id, now).cloned()
    }

    /// Whether the key is known to have been revoked, which nothing that is read later can change.
    pub(super) fn is_worthless(&self, id: &str, now: Timestamp) -> bool {
        self.worthless.look(id, now).is_some()
    }

    /// Takes in what the store said. `asked_at` is when it was asked, not when it answered. If the key was revoked in between
    /// that is out of date, which is why [`Self::is_worthless`] is to be asked before anything that was learned.
    pub(super) fn learn(&mut self, id: &str, key: Option<Arc<KnownKey>>, asked_at: Timestamp, now: Timestamp) {
        match key {
            Some(key) if !key.is_revoked => self.known.keep(id, key, asked_at),
            Some(_) => self.revoked(id, now),
            // Ids that were never there are not remembered: a guesser would fill the memory with them.
            None => self.end_watching(id),
        }
    }

    /// From here on the key is worth nothing in this process.
    pub(super) fn revoked(&mut self, id: &str, now: Timestamp) {
        self.worthless.keep(id, (), now);
        self.known.forget(id);
        self.end_watching(id);
    }

    fn end_watching(&mut self, id: &str) {
        if let Some(told) = self.watched.remove(id) {
            told.send_replace(true);
        }
    }

    /// What is true once the key is worthless.
    pub(super) fn watch(&mut self, id: &str, now: Timestamp) -> watch::Receiver<bool> {
        if self.is_worthless(id, now) {
            return watch::channel(true).1;
        }
        self.watched.entry(id.to_owned()).or_insert_with(|| watch::Sender::new(false)).subscribe()
    }

    /// The keys that somebody watches.
    pub(super) fn watched(&mut self) -> Vec<String> {
        self.forget_unwatched();
        self.watched.keys().cloned().collect()
    }

    fn forget_unwatched(&mut self) {
        self.watched.retain(|_, told| told.receiver_count() > 0);
    }

    /// Notes a use, unless one was noted in the last minute.
    pub(super) fn used(&mut self, id: &str, last_used_at: Option<Timestamp>, now: Timestamp) {
        let is_noted = last_used_at.is_some_and(|at| now.since(at) < NOTED_EVERY) || self.noted.look(id, now).is_some();
        if !is_noted && self.unwritten.len() < UNWRITTEN {
            self.noted.keep(id, (), now);
            self.unwritten.push((id.to_owned(), now));
        }
    }

    /// The uses that have not been written.
    pub(super) fn take_unwritten(&mut self) -> Vec<(String, Timestamp)> {
        std::mem::take(&mut self.unwritten)
    }

    /// Whether there is nothing to write and nobody to tell.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.forget_unwatched();
        self.unwritten.is_empty() && self.watched.is_empty()
    }

    /// How many keys are watched, and how many uses wait to be written.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.watched.len(), self.unwritten.len())
    }
}
