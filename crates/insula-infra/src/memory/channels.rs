//! Messages between the parts of one user's work. Nothing is kept.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use insula_context::UserScope;
use tokio::sync::broadcast;

use crate::CacheSubscription;

/// How many messages a listener may fall behind.
const BACKLOG: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Channels(Mutex<Listened>);

#[derive(Debug, Default)]
struct Listened {
    senders: HashMap<(UserScope, String), broadcast::Sender<Bytes>>,
    /// How many there may be before those that nobody listens to are looked for.
    sweep_at: usize,
}

impl Channels {
    pub(super) fn publish(&self, scope: &UserScope, channel: &str, message: Bytes) {
        let mut listened = self.lock();
        let key = (scope.clone(), channel.to_owned());
        // Sending fails when nobody listens any more.
        if listened.senders.get(&key).is_some_and(|sender| sender.send(message).is_err()) {
            listened.senders.remove(&key);
        }
    }

    pub(super) fn subscribe(&self, scope: &UserScope, channel: &str) -> CacheSubscription {
        let mut listened = self.lock();
        if listened.senders.len() >= listened.sweep_at {
            listened.senders.retain(|_, sender| sender.receiver_count() > 0);
            listened.sweep_at = 2 * listened.senders.len() + 16;
        }
        let sender = listened.senders.entry((scope.clone(), channel.to_owned()));
        CacheSubscription::new(sender.or_insert_with(|| broadcast::Sender::new(BACKLOG)).subscribe())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().senders.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Listened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
