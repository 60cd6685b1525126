//! The store: made from an address and the backend below it.

use std::{
    fmt,
    sync::{Arc, Weak, atomic::Ordering},
};

use fred::interfaces::ClientLike;
use insula_context::{Clock, SystemClock, ThreadId, UserScope};
use insula_infra::{Backend, Error, Outlet, Signals, ThreadWatch};
use tokio::{sync::Notify, task::JoinSet};

use crate::{
    RedisOptions,
    address::Address,
    cache::Cache,
    channels::Channels,
    health::WithRedis,
    keeper::{self, Keeper},
    link::Link,
    names::Names,
    news::{Counters, Outbox},
    quota::SharedQuota,
};

/// A backend whose nodes hear of each other by Redis. Cheap to clone; its tasks end when the last clone and the last port
/// made from it are dropped. See the [crate's page](crate).
#[derive(Clone)]
pub struct RedisStore(Arc<Store>);

struct Store {
    address: Address,
    options: RedisOptions,
    below: Backend,
    names: Names,
    link: Arc<Link>,
    channels: Arc<Channels>,
    counters: Arc<Counters>,
    /// Keeps it for the backend below, which holds it weakly.
    _outbox: Arc<dyn Outlet>,
    /// Dropped with the store, and ended by that.
    _tasks: JoinSet<()>,
}

impl Drop for Store {
    /// The driver's own tasks would keep the connections for ever: it is told to end.
    fn drop(&mut self) {
        // Without a runtime they have ended with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (client, subscriber, within) =
            (self.link.client.clone(), self.channels.subscriber().clone(), self.options.answer_within);
        runtime.spawn(tokio::time::timeout(within, async move { tokio::join!(client.quit(), subscriber.quit()) }));
    }
}

/// How much was carried since the store was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// News that were sent to other nodes.
    pub sent: u64,
    /// News that came from other nodes.
    pub heard: u64,
    /// How often everybody was woken because news may have been lost.
    pub woken: u64,
    /// Channels of caches that are listened to.
    pub channels: usize,
}

impl RedisStore {
    /// Puts a Redis in front of a backend. Returns at once: the connection is made in the background, and until there is
    /// one the backend works without. Call it within a tokio runtime.
    ///
    /// `url` is `redis://[USER:PASSWORD@]HOST:PORT[/DATABASE]`, `rediss://` for TLS with the roots that the system trusts,
    /// `redis-sentinel://HOST:PORT?sentinelServiceName=NAME` or `redis-cluster://HOST:PORT`, both with more of
    /// `node=HOST:PORT` in the query.
    ///
    /// # Errors
    /// [`Error::Database`] when the address cannot be read; its text has no password. That Redis is away is no error.
    pub fn connect(url: &str, below: Backend, options: RedisOptions) -> Result<Self, Error> {
        let address = Address::parse(url)?;
        let (client, subscriber) = address.clients(options.answer_within)?;
        let clock = options.clock.clone().unwrap_or_else(|| Arc::new(SystemClock::new()) as Arc<dyn Clock>);
        let link = Arc::new(Link::new(client, options.answer_within, clock));
        let channels = Arc::new(Channels::new(Arc::clone(&link), subscriber.clone()));
        let (outbox, counters) = (Arc::new(Outbox::default()), Arc::new(Counters::default()));
        let names = Names::new(&options.prefix);
        let tasks = keeper::start(Keeper {
            link: Arc::clone(&link),
            subscriber,
            channels: Arc::clone(&channels),
            outbox: Arc::clone(&outbox),
            counters: Arc::clone(&counters),
            signals: Arc::clone(&below.signals),
            channel: names.signals(),
            node: format!("{:032x}", options.ids.random()),
            shown: address.shown().to_owned(),
            look_every: options.look_every,
            missed: Notify::new(),
        });
        let outlet: Arc<dyn Outlet> = outbox;
        below.signals.attach(Arc::downgrade(&outlet));
        let (_outbox, _tasks) = (outlet, tasks);
        Ok(Self(Arc::new(Store { address, options, below, names, link, channels, counters, _outbox, _tasks })))
    }

    /// Waits until Redis answers; for as long as it does not. Cancellation safe.
    pub async fn connected(&self) {
        self.0.link.up().await;
    }

    /// How much was carried.
    pub fn stats(&self) -> Stats {
        let counters = &self.0.counters;
        let [sent, heard, woken] =
            [&counters.sent, &counters.heard, &counters.woken].map(|counter| counter.load(Ordering::Relaxed));
        Stats { sent, heard, woken, channels: self.0.channels.len() }
    }

    /// The backend below with news, cache and rates of all nodes, and with the health of Redis beside its own.
    pub fn into_backend(self) -> Backend {
        let Store { address, options, below, names, link, channels, .. } = &*self.0;
        let (limit, clock) = (options.cache_bytes, options.clock.clone());
        let cache = Cache {
            link: Arc::clone(link),
            names: names.clone(),
            channels: Arc::clone(channels),
            limit,
            clock: clock.clone(),
            _store: self.clone(),
        };
        let quota = SharedQuota {
            link: Arc::clone(link),
            names: names.clone(),
            below: Arc::clone(&below.quota),
            clock,
            _store: self.clone(),
        };
        let health = WithRedis {
            below: Arc::clone(&below.health),
            link: Arc::clone(link),
            shown: address.shown().to_owned(),
            _store: self.clone(),
        };
        Backend {
            quota: Arc::new(quota),
            health: Arc::new(health),
            cache: Some(Arc::new(cache)),
            signals: Arc::new(Carried { below: Arc::clone(&below.signals), _store: self.clone() }),
            ..below.clone()
        }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("address", &self.0.address).field("stats", &self.stats()).finish()
    }
}

/// The signals of the backend below, which keep the store at work for as long as anybody has them.
struct Carried {
    below: Arc<dyn Signals>,
    _store: RedisStore,
}

impl Signals for Carried {
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        self.below.advanced(scope, thread, head);
    }

    fn watch(&self, scope: &UserScope, thread: &ThreadId) -> ThreadWatch {
        self.below.watch(scope, thread)
    }

    fn attach(&self, outlet: Weak<dyn Outlet>) {
        self.below.attach(outlet);
    }

    fn pass_on(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        self.below.pass_on(scope, thread, head);
    }

    fn wake_all(&self) {
        self.below.wake_all();
    }
}
