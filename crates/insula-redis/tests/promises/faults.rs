//! A Redis that is away, in every way in which it can be.

use std::time::Duration;

use bytes::Bytes;
use insula_infra::{Error, Health, RateLimit, Taken};
use insula_test_services::{Fault, Keeping, Proxy, Redis};

use crate::support::{Node, WITHIN, flows, say, soon, thread, user};

/// Two nodes, one of them behind a network that fails on request.
async fn behind_a_proxy(redis: &Redis) -> (Node, Node, Proxy) {
    let proxy = Proxy::to(redis.url());
    let (one, two) =
        (Node::connected(proxy.url(), redis.prefix()).await, Node::connected(redis.url(), redis.prefix()).await);
    flows(&one, &two, "before").await;
    (one, two, proxy)
}

#[tokio::test]
async fn in_a_black_hole_nobody_waits_and_afterwards_everybody_looks() {
    let redis = Redis::fresh();
    let (one, two, proxy) = behind_a_proxy(&redis).await;
    let ada = user("ada");
    proxy.set(Fault::BlackHole).await;
    let asked = tokio::time::Instant::now();
    let first = one.cache().get(&ada, "k").await;
    assert!(matches!(&first, Err(error) if error.is_transient()), "{first:?}");
    assert!(asked.elapsed() < WITHIN * 4, "a command took {:?}", asked.elapsed());
    one.until(Health::Degraded).await;
    let next = one.cache().get(&ada, "k").await;
    assert!(matches!(next, Err(Error::Unavailable { .. })), "{next:?}");
    let told = tokio::time::Instant::now();
    for head in 1..=100_000 {
        one.backend.signals.advanced(&ada, &thread("t"), head);
    }
    assert!(told.elapsed() < Duration::from_secs(5), "telling took {:?}", told.elapsed());
    // What the other node says meanwhile is lost for this one.
    let mut watch = one.backend.signals.watch(&ada, &thread("quiet"));
    let mut theirs = two.backend.signals.watch(&ada, &thread("quiet"));
    let woken = one.store.stats().woken;
    proxy.set(Fault::Pass).await;
    assert_eq!(soon("the wake", watch.changed()).await, 0, "woken without news");
    assert_eq!(soon("the other's wake", theirs.changed()).await, 0, "this node dropped news of its own and says so");
    assert!(one.store.stats().woken > woken);
    one.until(Health::Up).await;
    flows(&one, &two, "after").await;
    flows(&two, &one, "back").await;
}

#[tokio::test]
async fn a_cut_between_two_looks_wakes_everybody() {
    let redis = Redis::fresh();
    let (one, two, proxy) = behind_a_proxy(&redis).await;
    let mut watch = one.backend.signals.watch(&user("ada"), &thread("quiet"));
    proxy.cut().await;
    assert_eq!(soon("the wake", watch.changed()).await, 0);
    flows(&one, &two, "after").await;
    flows(&two, &one, "back").await;
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_is_used_again() {
    let mut redis = Redis::private(Keeping::Nothing).await;
    let (one, two) = (Node::connected(&redis.url(), "p").await, Node::connected(&redis.url(), "p").await);
    let ada = user("ada");
    let mut news = two.cache().subscribe(&ada, "news").await.unwrap();
    one.cache().set(&ada, "k", Bytes::from_static(b"v"), None).await.unwrap();
    redis.kill();
    one.until(Health::Degraded).await;
    assert!(one.cache().get(&ada, "k").await.is_err(), "away is not absent");
    let limit = RateLimit { name: "l".to_owned(), max: 1, window: Duration::from_secs(60) };
    assert_eq!(one.backend.quota.take(&ada, &limit, 1).await.unwrap(), Taken::Granted { left: 0 });
    assert!(matches!(one.backend.quota.take(&ada, &limit, 1).await.unwrap(), Taken::Refused { .. }), "counted alone");
    redis.start_again().await;
    one.until(Health::Up).await;
    two.until(Health::Up).await;
    assert_eq!(one.cache().get(&ada, "k").await.unwrap(), None, "absent is not away; the scripts are known anew");
    flows(&one, &two, "after").await;
    flows(&two, &one, "back").await;
    let heard = async {
        loop {
            one.cache().publish(&ada, "news", Bytes::from_static(b"m")).await.unwrap();
            if let Ok(Some(message)) = tokio::time::timeout(WITHIN, news.next()).await {
                return message;
            }
        }
    };
    assert_eq!(soon("the message", heard).await, "m");
}

#[tokio::test]
async fn a_redis_that_stands_still_costs_the_bound_and_no_more() {
    let redis = Redis::private(Keeping::Nothing).await;
    let (one, two) = (Node::connected(&redis.url(), "p").await, Node::connected(&redis.url(), "p").await);
    let ada = user("ada");
    redis.freeze();
    let asked = tokio::time::Instant::now();
    let mut refused = 0;
    for _ in 0..1_000 {
        refused += u64::from(one.cache().increment(&ada, "n", 1).await.is_err_and(|error| error.is_transient()));
    }
    assert_eq!(refused, 1_000);
    assert!(asked.elapsed() < WITHIN * 10, "a thousand commands took {:?}", asked.elapsed());
    redis.thaw();
    one.until(Health::Up).await;
    two.until(Health::Up).await;
    flows(&one, &two, "after").await;
    let counted = one.cache().increment(&ada, "n", 1).await.unwrap();
    assert!(counted <= 20, "what was refused at once was not carried out: {counted}");
}

#[tokio::test]
async fn a_flush_loses_speed_only() {
    let redis = Redis::private(Keeping::Nothing).await;
    let (one, two) = (Node::connected(&redis.url(), "p").await, Node::connected(&redis.url(), "p").await);
    let ada = user("ada");
    one.cache().set(&ada, "k", Bytes::from_static(b"v"), None).await.unwrap();
    say(redis.addr(), "FLUSHALL\r\nSCRIPT FLUSH");
    assert_eq!(one.cache().get(&ada, "k").await.unwrap(), None);
    one.cache().set(&ada, "k", Bytes::from_static(b"w"), None).await.unwrap();
    assert_eq!(two.cache().get(&ada, "k").await.unwrap().as_deref(), Some(b"w".as_slice()));
    assert_eq!(flows(&one, &two, "after").await, 1);
}

#[tokio::test]
async fn absent_at_the_start_is_degraded_and_found_later() {
    let mut redis = Redis::private(Keeping::Nothing).await;
    redis.kill();
    let node = Node::new(&redis.url(), "p");
    node.until(Health::Degraded).await;
    redis.start_again().await;
    soon("the connection", node.store.connected()).await;
    assert_eq!(node.health().await, Health::Up);
}
