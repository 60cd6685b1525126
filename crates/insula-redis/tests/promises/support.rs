//! Nodes of one deployment, each over a backend of its own.

use std::{sync::Arc, time::Duration};

use insula_context::{ScopeIssuer, ThreadId, UserScope};
use insula_infra::{Backend, Health, MemoryBackend, RedisManager};
use insula_redis::{RedisOptions, RedisStore};

/// How long a command may take in these tests.
pub(crate) const WITHIN: Duration = Duration::from_millis(300);

pub(crate) struct Node {
    pub(crate) store: RedisStore,
    pub(crate) backend: Backend,
}

impl Node {
    pub(crate) fn new(url: &str, prefix: &str) -> Self {
        let options =
            RedisOptions::default().prefix(prefix).answer_within(WITHIN).look_every(Duration::from_millis(50));
        let below = MemoryBackend::new().into_backend();
        let store = RedisStore::connect(url, below, options).expect("the address is one");
        Self { backend: store.clone().into_backend(), store }
    }

    pub(crate) async fn connected(url: &str, prefix: &str) -> Self {
        let node = Self::new(url, prefix);
        soon("the connection", node.store.connected()).await;
        node
    }

    pub(crate) fn cache(&self) -> Arc<dyn RedisManager> {
        self.backend.cache.clone().expect("there is a cache")
    }

    pub(crate) async fn health(&self) -> Health {
        self.backend.health.health().await.last().expect("Redis is named").health
    }

    /// Waits until the node has noticed how Redis is.
    pub(crate) async fn until(&self, wanted: Health) {
        let seen = async {
            while self.health().await != wanted {
                tokio::task::yield_now().await;
            }
        };
        soon("the health", seen).await;
    }
}

pub(crate) fn user(name: &str) -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
    ScopeIssuer::new().issue("acme", name).expect("valid")
}

pub(crate) fn thread(name: &str) -> ThreadId {
    ThreadId::new(name).expect("valid")
}

/// Waits for what has to come. A minute is not a measure of anything: it ends a hopeless wait.
pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// Tells of a thread on one node until the other has heard of it, and says how often that took.
pub(crate) async fn flows(from: &Node, to: &Node, name: &str) -> u64 {
    let (ada, thread) = (user("ada"), thread(name));
    let mut watch = to.backend.signals.watch(&ada, &thread);
    for head in 1.. {
        from.backend.signals.advanced(&ada, &thread, head);
        // A woken listener without news has heard of nothing: it is told 0.
        match tokio::time::timeout(WITHIN, watch.changed()).await {
            Ok(0) | Err(_) if head < 200 => {}
            Ok(0) | Err(_) => panic!("{name}: no news arrive"),
            Ok(_) => return head,
        }
    }
    0
}

/// One command to a server, and its answer as it stands on the wire.
pub(crate) fn say(addr: std::net::SocketAddr, command: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(addr).expect("the server accepts");
    stream.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers and closes");
    answer
}
