//! How a deployment uses its Redis.

use std::{sync::Arc, time::Duration};

use insula_context::{Clock, IdSource, RandomIds};
use insula_infra::memory::CACHE_BYTES;

/// Settings of a [`RedisStore`](crate::RedisStore). All have a value that suits most.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    pub(crate) prefix: String,
    pub(crate) answer_within: Duration,
    pub(crate) look_every: Duration,
    pub(crate) cache_bytes: usize,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) ids: Arc<dyn IdSource>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            prefix: "insula".to_owned(),
            answer_within: Duration::from_secs(1),
            look_every: Duration::from_secs(1),
            cache_bytes: CACHE_BYTES,
            clock: None,
            ids: Arc::new(RandomIds),
        }
    }
}

impl RedisOptions {
    /// What every key and channel begins with; `insula` unless said otherwise. Deployments that share a Redis need
    /// different ones, nodes of one deployment the same.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long a command may take; a second unless said otherwise. Then it fails, and the next ones fail at once until
    /// Redis answers again.
    #[must_use]
    pub fn answer_within(self, answer_within: Duration) -> Self {
        Self { answer_within, ..self }
    }

    /// How often it is seen whether Redis answers; every second unless said otherwise.
    #[must_use]
    pub fn look_every(self, look_every: Duration) -> Self {
        Self { look_every, ..self }
    }

    /// Keeps that many bytes of cache per owner; beyond it, what was written longest ago goes first. 16 MiB unless said
    /// otherwise.
    #[must_use]
    pub fn cache_bytes(self, bytes_per_owner: usize) -> Self {
        Self { cache_bytes: bytes_per_owner, ..self }
    }

    /// Counts times to live and windows by this clock. Without one they are counted by Redis' own, which is the same for
    /// all nodes: this is for tests.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Where the name of this node comes from, by which it knows its own messages.
    #[must_use]
    pub fn ids(self, ids: Arc<dyn IdSource>) -> Self {
        Self { ids, ..self }
    }
}
