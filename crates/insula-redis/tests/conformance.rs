//! Redis in front of memory keeps every rule of the ports.

use std::sync::Arc;

use insula_infra::{
    MemoryBackend,
    conformance::{ManualClock, Subject},
};
use insula_redis::{RedisOptions, RedisStore};
use insula_test_services::Redis;

async fn subject() -> Subject {
    let (clock, redis) = (Arc::new(ManualClock::new()), Redis::fresh());
    let options = RedisOptions::default().prefix(redis.prefix()).clock(clock.clone());
    let below = MemoryBackend::with(clock.clone()).into_backend();
    let store = RedisStore::connect(redis.url(), below, options).expect("the address is one");
    store.connected().await;
    Subject::new(store.into_backend(), clock).keeping(redis)
}

insula_infra::conformance!(redis, subject);
