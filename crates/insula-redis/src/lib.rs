//! Redis in front of another backend: news of threads across nodes, one cache and one count of rates for all of them.
//!
//! ```no_run
//! # async fn example() -> Result<(), insula_infra::Error> {
//! use insula_infra::{Backend, MemoryBackend};
//! use insula_redis::{RedisOptions, RedisStore};
//!
//! let below: Backend = MemoryBackend::new().into_backend();
//! let options = RedisOptions::default().prefix("staging");
//! let backend: Backend = RedisStore::connect("redis://127.0.0.1:6379", below, options)?.into_backend();
//! # drop(backend);
//! # Ok(())
//! # }
//! ```
//!
//! Redis is never the only copy of anything. While it is away, or was never there, the backend works: news of other nodes
//! come when a reader looks again, the cache says that it is unavailable, each node counts rates alone, and health says
//! `degraded`. No run waits for Redis: what commits hands its news to a set in memory, which a task of the store sends.
//!
//! Listeners on the node that commits are woken at once, by the backend below. When a connection was lost, everything is
//! listened to anew and then every listener is woken once, because news may have been missed; a node that had to drop
//! news says so to the others as soon as it can.
//!
//! In reading order: [`RedisOptions`] and [`RedisStore`], then `address` (URLs), `names` (keys), `link` (whether it
//! answers), `news` and `keeper` (signals), `scripts`, `cache` with `channels`, `quota` and `health`.

mod address;
mod cache;
mod channels;
mod health;
mod keeper;
mod link;
mod names;
mod news;
mod options;
mod quota;
mod scripts;
mod store;

pub use options::RedisOptions;
pub use store::{RedisStore, Stats};
