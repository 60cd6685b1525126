//! The cache beside the rules that every backend keeps.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use insula_infra::{Error, MemoryBackend, RateLimit, Taken};
use insula_redis::{RedisOptions, RedisStore};
use insula_test_services::{Keeping, Redis};

use crate::support::{Node, say, soon, user};

#[tokio::test]
async fn nodes_share_values_messages_and_rates() {
    let redis = Redis::fresh();
    let (one, two) =
        (Node::connected(redis.url(), redis.prefix()).await, Node::connected(redis.url(), redis.prefix()).await);
    let ada = user("ada");
    one.cache().set(&ada, "k", Bytes::from_static(b"v"), None).await.unwrap();
    assert_eq!(two.cache().get(&ada, "k").await.unwrap().as_deref(), Some(b"v".as_slice()));
    let mut news = two.cache().subscribe(&ada, "news").await.unwrap();
    one.cache().publish(&ada, "news", Bytes::from_static(b"m")).await.unwrap();
    assert_eq!(soon("the message", news.next()).await.as_deref(), Some(b"m".as_slice()));
    let limit = RateLimit { name: "l".to_owned(), max: 3, window: Duration::from_secs(60) };
    assert_eq!(one.backend.quota.take(&ada, &limit, 2).await.unwrap(), Taken::Granted { left: 1 });
    assert_eq!(two.backend.quota.take(&ada, &limit, 1).await.unwrap(), Taken::Granted { left: 0 });
    assert!(matches!(one.backend.quota.take(&ada, &limit, 1).await.unwrap(), Taken::Refused { .. }));
}

#[tokio::test]
async fn an_owner_fills_no_more_than_the_limit_and_the_oldest_goes_first() {
    let redis = Redis::fresh();
    let options = RedisOptions::default().prefix(redis.prefix()).cache_bytes(400);
    let store = RedisStore::connect(redis.url(), MemoryBackend::new().into_backend(), options).unwrap();
    store.connected().await;
    let (cache, ada, bob) = (store.into_backend().cache.unwrap(), user("ada"), user("bob"));
    cache.set(&bob, "k", Bytes::from_static(b"his"), None).await.unwrap();
    for key in ["a", "b", "c"] {
        cache.set(&ada, key, Bytes::from(vec![0; 100]), None).await.unwrap();
    }
    assert_eq!(cache.get(&ada, "a").await.unwrap(), None, "the oldest went");
    assert!(cache.get(&ada, "b").await.unwrap().is_some() && cache.get(&ada, "c").await.unwrap().is_some());
    assert!(cache.get(&bob, "k").await.unwrap().is_some(), "another's stays");
    let large = cache.set(&ada, "d", Bytes::from(vec![0; 400]), None).await;
    assert!(matches!(large, Err(Error::TooLarge { size: 465, limit: 400, .. })), "{large:?}");
    let pushed = cache.push(&ada, "l", Bytes::from(vec![0; 300])).await;
    assert!(matches!(pushed, Err(Error::TooLarge { limit: 400, .. })), "{pushed:?}");
}

#[tokio::test]
async fn sums_keep_all_64_bits() {
    let redis = Redis::fresh();
    let (node, ada) = (Node::connected(redis.url(), redis.prefix()).await, user("ada"));
    assert_eq!(node.cache().increment(&ada, "n", i64::MAX - 1).await.unwrap(), i64::MAX - 1);
    assert_eq!(node.cache().increment(&ada, "n", 1).await.unwrap(), i64::MAX);
    let refused = node.cache().increment(&ada, "n", 1).await;
    assert!(matches!(refused, Err(Error::WrongType { found: "too large for the sum", .. })), "{refused:?}");
}

#[tokio::test]
async fn redis_own_clock_ends_a_value() {
    let redis = Redis::fresh();
    let (node, ada) = (Node::connected(redis.url(), redis.prefix()).await, user("ada"));
    let cache: Arc<_> = node.cache();
    cache.set(&ada, "k", Bytes::from_static(b"v"), Some(Duration::from_millis(20))).await.unwrap();
    soon("its end", async { while cache.get(&ada, "k").await.unwrap().is_some() {} }).await;
}

#[tokio::test]
async fn a_listener_that_went_is_forgotten() {
    let redis = Redis::fresh();
    let (node, ada) = (Node::connected(redis.url(), redis.prefix()).await, user("ada"));
    drop(node.cache().subscribe(&ada, "news").await.unwrap());
    soon("the sweep", async {
        while node.store.stats().channels > 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    let mut anew = node.cache().subscribe(&ada, "news").await.unwrap();
    node.cache().publish(&ada, "news", Bytes::from_static(b"m")).await.unwrap();
    assert!(soon("the message", anew.next()).await.is_some());
}

#[tokio::test]
async fn an_index_that_was_evicted_in_part_neither_hangs_nor_shows_what_was_cleared() {
    for part in ["age", "ends", "meta"] {
        let redis = Redis::private(Keeping::Nothing).await;
        let options = RedisOptions::default().prefix("p").cache_bytes(400);
        let store = RedisStore::connect(&redis.url(), MemoryBackend::new().into_backend(), options).unwrap();
        store.connected().await;
        let (cache, ada) = (store.into_backend().cache.unwrap(), user("ada"));
        let set = |key, ttl| cache.set(&ada, key, Bytes::from(vec![0; 100]), ttl);
        set("a", Some(Duration::from_secs(60))).await.unwrap();
        set("b", None).await.unwrap();
        assert!(say(redis.addr(), &format!("DEL p:c:{{acme/ada}}:{part}")).starts_with(":1"), "{part}");
        for key in ["c", "d", "e"] {
            set(key, None).await.unwrap();
        }
        assert!(cache.get(&ada, "e").await.unwrap().is_some(), "{part}");
        cache.clear(&ada).await.unwrap();
        for key in ["a", "b", "c", "d", "e"] {
            assert_eq!(cache.get(&ada, key).await.unwrap(), None, "{part}: {key}");
        }
    }
}
