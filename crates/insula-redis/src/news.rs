//! News of this node on its way to the others. Hints: where they cannot be carried they are dropped, and a message says so
//! when there is a way again.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use insula_context::{ScopeIssuer, ThreadId, UserScope};
use insula_infra::Outlet;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// How many threads may have news that are not sent yet. More than that are told as one word: look everywhere.
const WAITING: usize = 4_096;
/// How many threads one message tells of.
const PER_MESSAGE: usize = 256;

/// The latest news of each thread that have not been sent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    heads: HashMap<(UserScope, ThreadId), u64>,
    /// Something was dropped that nobody else was told of.
    dropped: bool,
}

/// What one node tells the others.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Who says it.
    pub(crate) node: String,
    /// Tenant, user, thread and head.
    #[serde(default)]
    pub(crate) news: Vec<(String, String, String, u64)>,
    /// More happened than is told here.
    #[serde(default)]
    pub(crate) missed: bool,
}

/// How much was carried, for operators and tests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: AtomicU64,
    pub(crate) heard: AtomicU64,
    pub(crate) woken: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: usize) {
        counter.fetch_add(by as u64, Ordering::Relaxed);
    }
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something to send.
    pub(crate) async fn more(&self) {
        self.more.notified().await;
    }

    /// What is to be sent next; `None` when there is nothing.
    pub(crate) fn next(&self, node: &str) -> Option<Message> {
        let mut waiting = self.lock();
        let missed = mem::take(&mut waiting.dropped);
        if waiting.heads.is_empty() && !missed {
            return None;
        }
        let keys: Vec<_> = waiting.heads.keys().take(PER_MESSAGE).cloned().collect();
        let news = keys.into_iter().filter_map(|key| {
            let head = waiting.heads.remove(&key)?;
            Some((key.0.tenant().to_string(), key.0.user().to_string(), key.1.to_string(), head))
        });
        Some(Message { node: node.to_owned(), news: news.collect(), missed })
    }

    /// Nothing can be sent: what waits is dropped, and told of as one word when there is a way again.
    pub(crate) fn drop_all(&self) {
        let mut waiting = self.lock();
        waiting.heads.clear();
        waiting.dropped = true;
    }

    /// Nothing can be sent now: drops what waits, if anything does.
    pub(crate) fn drop_unsent(&self) {
        let mut waiting = self.lock();
        waiting.dropped |= !waiting.heads.is_empty();
        waiting.heads.clear();
    }

    /// Looks whether there is something to send after all.
    pub(crate) fn retry(&self) {
        self.more.notify_one();
    }
}

impl Outlet for Outbox {
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        let mut waiting = self.lock();
        let is_full = waiting.heads.len() >= WAITING;
        match waiting.heads.get_mut(&(scope.clone(), thread.clone())) {
            Some(known) => *known = head.max(*known),
            None if is_full => waiting.dropped = true,
            None => drop(waiting.heads.insert((scope.clone(), thread.clone()), head)),
        }
        drop(waiting);
        self.more.notify_one();
    }
}

/// The thread that an entry of a message is about; `None` when it names nothing that could be listened to.
#[expect(clippy::disallowed_methods, reason = "the scope was authenticated on the node that tells of it")]
pub(crate) fn about(tenant: &str, user: &str, thread: &str) -> Option<(UserScope, ThreadId)> {
    Some((ScopeIssuer::new().issue(tenant, user).ok()?, ThreadId::new(thread).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(outbox: &Outbox, thread: usize, head: u64) {
        let (scope, thread) = about("acme", "ada", &format!("t{thread}")).unwrap();
        outbox.advanced(&scope, &thread, head);
    }

    #[test]
    fn only_the_latest_of_a_thread_is_told() {
        let outbox = Outbox::default();
        [1, 3, 2].into_iter().for_each(|head| tell(&outbox, 0, head));
        let message = outbox.next("n").unwrap();
        assert_eq!(message.news, [("acme".to_owned(), "ada".to_owned(), "t0".to_owned(), 3)]);
        assert!(!message.missed && outbox.next("n").is_none());
    }

    #[test]
    fn what_finds_no_place_is_told_of_as_one_word() {
        let outbox = Outbox::default();
        (0..=WAITING).for_each(|thread| tell(&outbox, thread, 1));
        let messages: Vec<_> = std::iter::from_fn(|| outbox.next("n")).collect();
        assert_eq!(messages.iter().map(|message| message.news.len()).sum::<usize>(), WAITING);
        assert_eq!(messages.iter().filter(|message| message.missed).count(), 1);
        tell(&outbox, 0, 2);
        outbox.drop_all();
        let message = outbox.next("n").unwrap();
        assert!(message.missed && message.news.is_empty());
    }
}
