//! News of threads: best-effort, and never the only copy of anything. A lost signal costs latency, never an event.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use insula_context::{ThreadId, UserScope};
use tokio::sync::watch;

/// Carries news of threads to whoever reads them.
pub trait Signals: Send + Sync {
    /// A thread's log has grown to `head`. Called after the commit, never before.
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64);

    /// Listens for news of one thread.
    fn watch(&self, scope: &UserScope, thread: &ThreadId) -> ThreadWatch;

    /// From now on this outlet is told as well of what advances here, until it is dropped.
    fn attach(&self, outlet: Weak<dyn Outlet>);

    /// News from another node, for those who listen here. Outlets are not told: it would come back for ever.
    fn pass_on(&self, scope: &UserScope, thread: &ThreadId, head: u64);

    /// News may have been lost on the way: everybody who listens here is to look.
    fn wake_all(&self);
}

/// Takes news of this node to others.
pub trait Outlet: Send + Sync {
    /// A thread's log has grown to `head`. Called by whoever commits, so it must not wait for anything.
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64);
}

type Key = (UserScope, ThreadId);
type Watched = Mutex<HashMap<Key, watch::Sender<u64>>>;

/// Signals within one process.
#[derive(Debug, Default, Clone)]
pub struct LocalSignals {
    watched: Arc<Watched>,
    count: Arc<AtomicUsize>,
    outlets: Arc<Outlets>,
}

/// Who carries the news of this node on.
#[derive(Default)]
struct Outlets {
    attached: AtomicBool,
    list: RwLock<Vec<Weak<dyn Outlet>>>,
}

impl Outlets {
    fn attach(&self, outlet: Weak<dyn Outlet>) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        list.retain(|outlet| outlet.strong_count() > 0);
        list.push(outlet);
        self.attached.store(true, Ordering::Release);
    }

    fn tell(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        // A process that is alone pays one load.
        if !self.attached.load(Ordering::Acquire) {
            return;
        }
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter().filter_map(Weak::upgrade).for_each(|outlet| outlet.advanced(scope, thread, head));
    }
}

impl std::fmt::Debug for Outlets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlets").field("attached", &self.attached).finish_non_exhaustive()
    }
}

impl LocalSignals {
    /// Nobody listens yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many threads are listened to.
    pub fn watched(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

fn lock(watched: &Watched) -> MutexGuard<'_, HashMap<Key, watch::Sender<u64>>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signals for LocalSignals {
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        self.pass_on(scope, thread, head);
        self.outlets.tell(scope, thread, head);
    }

    fn attach(&self, outlet: Weak<dyn Outlet>) {
        self.outlets.attach(outlet);
    }

    fn wake_all(&self) {
        lock(&self.watched).values().for_each(|sender| sender.send_modify(|_| {}));
    }

    fn pass_on(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        // Most commits happen while nobody listens: those do not pay for the map.
        if self.watched() == 0 {
            return;
        }
        if let Some(sender) = lock(&self.watched).get(&(scope.clone(), thread.clone())) {
            sender.send_if_modified(|known| std::mem::replace(known, head.max(*known)) < head);
        }
    }

    fn watch(&self, scope: &UserScope, thread: &ThreadId) -> ThreadWatch {
        let key = (scope.clone(), thread.clone());
        let mut watched = lock(&self.watched);
        let receiver = watched.entry(key.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe();
        self.count.store(watched.len(), Ordering::Release);
        ThreadWatch {
            receiver: Some(receiver),
            key,
            watched: Arc::clone(&self.watched),
            count: Arc::clone(&self.count),
        }
    }
}

/// News of one thread. Dropping it ends the listening.
#[derive(Debug)]
pub struct ThreadWatch {
    receiver: Option<watch::Receiver<u64>>,
    key: Key,
    watched: Arc<Watched>,
    count: Arc<AtomicUsize>,
}

impl ThreadWatch {
    /// Waits until the thread has grown since the last call, and says how far. Cancellation safe.
    pub async fn changed(&mut self) -> u64 {
        // The sender lives in the map as long as a watch does, so neither exit is taken.
        let Some(receiver) = &mut self.receiver else { return std::future::pending().await };
        match receiver.changed().await {
            Ok(()) => *receiver.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for ThreadWatch {
    fn drop(&mut self) {
        let mut watched = lock(&self.watched);
        self.receiver = None;
        if watched.get(&self.key).is_some_and(|sender| sender.receiver_count() == 0) {
            watched.remove(&self.key);
        }
        self.count.store(watched.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_reaches_those_who_listen_to_the_thread_and_nobody_else() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let issuer = insula_context::ScopeIssuer::new();
        let (ada, bob) = (issuer.issue("t", "ada").expect("valid"), issuer.issue("t", "bob").expect("valid"));
        let thread = ThreadId::new("same").expect("valid");
        let signals = LocalSignals::new();
        let (mut hers, mut his) = (signals.watch(&ada, &thread), signals.watch(&bob, &thread));
        signals.advanced(&ada, &thread, 3);
        assert_eq!(hers.changed().await, 3);
        signals.advanced(&bob, &thread, 1);
        assert_eq!(his.changed().await, 1);
        drop((hers, his));
        assert_eq!(signals.watched(), 0);
    }
    #[derive(Default)]
    struct Notes(Mutex<Vec<u64>>);

    impl Outlet for Notes {
        fn advanced(&self, _: &UserScope, _: &ThreadId, head: u64) {
            self.0.lock().unwrap().push(head);
        }
    }

    #[tokio::test]
    async fn an_outlet_hears_of_this_node_only_and_a_dropped_one_of_nothing() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let ada = insula_context::ScopeIssuer::new().issue("t", "ada").expect("valid");
        let (thread, signals, notes) = (ThreadId::new("t").unwrap(), LocalSignals::new(), Arc::new(Notes::default()));
        let outlet: Arc<dyn Outlet> = Arc::<Notes>::clone(&notes);
        signals.attach(Arc::downgrade(&outlet));
        let mut watch = signals.watch(&ada, &thread);
        signals.advanced(&ada, &thread, 1);
        signals.pass_on(&ada, &thread, 2);
        assert_eq!((watch.changed().await, notes.0.lock().unwrap().clone()), (2, vec![1]));
        drop(outlet);
        assert_eq!(Arc::strong_count(&notes), 1, "nobody else keeps it");
    }

    #[tokio::test]
    async fn everybody_is_woken_without_news() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let ada = insula_context::ScopeIssuer::new().issue("t", "ada").expect("valid");
        let signals = LocalSignals::new();
        let mut watches = ["a", "b"].map(|name| signals.watch(&ada, &ThreadId::new(name).unwrap()));
        signals.wake_all();
        for watch in &mut watches {
            assert_eq!(watch.changed().await, 0);
        }
    }
}
