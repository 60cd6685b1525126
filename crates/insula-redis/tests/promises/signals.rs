//! News between nodes.

use insula_infra::Health;
use insula_test_services::{Keeping, Redis};

use crate::support::{Node, flows, say, soon, thread, user};

#[tokio::test]
async fn news_of_one_node_reach_the_listeners_of_another_and_no_other_user() {
    let redis = Redis::fresh();
    let (one, two) =
        (Node::connected(redis.url(), redis.prefix()).await, Node::connected(redis.url(), redis.prefix()).await);
    let mut his = two.backend.signals.watch(&user("bob"), &thread("t"));
    let said = flows(&one, &two, "t").await;
    two.backend.signals.advanced(&user("bob"), &thread("t"), 9);
    assert_eq!(soon("his news", his.changed()).await, 9);
    soon("his news elsewhere", async {
        while one.store.stats().heard < 1 {
            tokio::task::yield_now().await
        }
    })
    .await;
    let heard = (one.store.stats().heard, two.store.stats().heard);
    assert!(heard.0 == 1 && heard.1 <= said, "what comes back to its sender is ignored: {heard:?} of {said}");
}

#[tokio::test]
async fn listeners_of_the_same_node_do_not_wait_for_redis() {
    let node = Node::new("redis://127.0.0.1:1", "nobody");
    let mut watch = node.backend.signals.watch(&user("ada"), &thread("t"));
    node.backend.signals.advanced(&user("ada"), &thread("t"), 5);
    assert_eq!(soon("the news", watch.changed()).await, 5);
    assert_eq!(node.health().await, Health::Degraded);
}

#[tokio::test]
async fn deployments_with_different_prefixes_hear_nothing_of_each_other() {
    let (mine, other) = (Redis::fresh(), Redis::fresh());
    let (one, two) =
        (Node::connected(mine.url(), mine.prefix()).await, Node::connected(mine.url(), mine.prefix()).await);
    let stranger = Node::connected(other.url(), other.prefix()).await;
    flows(&one, &two, "t").await;
    flows(&two, &one, "u").await;
    assert_eq!(stranger.store.stats().heard, 0);
}

#[tokio::test]
async fn a_dropped_store_leaves_no_connection_behind() {
    let redis = Redis::private(Keeping::Nothing).await;
    let (kept, dropped) = (Node::connected(&redis.url(), "p").await, Node::connected(&redis.url(), "p").await);
    let below = dropped.backend.clone();
    drop(dropped);
    drop(below);
    // Two of the one that is kept, and the one that asks.
    let others = || say(redis.addr(), "CLIENT LIST").matches(" addr=").count();
    soon("the end of the other's", async {
        while others() > 3 {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(kept.health().await, Health::Up);
}

#[tokio::test]
async fn a_flood_is_told_as_the_latest_of_each_thread() {
    let redis = Redis::fresh();
    let (one, two) =
        (Node::connected(redis.url(), redis.prefix()).await, Node::connected(redis.url(), redis.prefix()).await);
    let mut watch = two.backend.signals.watch(&user("ada"), &thread("t"));
    for head in 1..=10_000 {
        one.backend.signals.advanced(&user("ada"), &thread("t"), head);
    }
    soon("the last", async { while watch.changed().await < 10_000 {} }).await;
    assert!(one.store.stats().sent < 10_000, "{:?}", one.store.stats());
}
