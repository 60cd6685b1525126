//! The cache: two users' same key, time to live, and a cache that does not answer.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use insula_agent::{Error, Session, agent_fn};
use insula_context::UserScope;
use insula_infra::{CacheSubscription, Error as Refused, RedisManager};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::{Island, context};
use crate::support::{Backing, Gauge, HandClock, on_every_backend};

/// Answers a query from the cache, or works the answer out and keeps it. Without a cache it works, and says so.
fn librarian(worked: &Gauge) -> AgentClass {
    let worked = worked.clone();
    AgentClass::new("librarian", "1", move || {
        let worked = worked.clone();
        agent_fn(move |session, query| {
            let worked = worked.clone();
            async move { look_up(&session, &query, &worked).await }
        })
    })
}

async fn look_up(session: &Session, query: &Value, worked: &Gauge) -> Result<Value, Error> {
    let (cache, key) = (session.cache()?, query.to_string());
    let degraded = match cache.get(&key).await {
        Ok(Some(answer)) => return Ok(serde_json::from_slice(&answer).unwrap()),
        Ok(None) => Value::Null,
        Err(down @ Error::Unavailable { .. }) => json!(down.to_string()),
        Err(other) => return Err(other),
    };
    drop(worked.enter());
    let answer = json!({"answer": format!("{query} for {}", session.context().scope()), "degraded": degraded});
    if degraded.is_null() {
        cache.set(&key, answer.to_string().into_bytes(), Some(Duration::from_secs(60))).await?;
    }
    Ok(answer)
}

on_every_backend! {
    async fn per_5_the_same_key_of_two_users_is_two_values(island: Island) {
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let (hers, his) = (island.engine(&context(&ada)), island.engine(&context(&bob)));
        let (hers, his) = (hers.redis_manager().unwrap(), his.redis_manager().unwrap());
        hers.set("key", b"hers".to_vec(), None).await.unwrap();
        assert_eq!(his.get("key").await.unwrap(), None);
        his.set("key", b"his".to_vec(), None).await.unwrap();
        assert_eq!(hers.get("key").await.unwrap().unwrap(), b"hers");
        for (cache, by) in [(&hers, 1), (&his, 10)] {
            cache.increment("count", by).await.unwrap();
            cache.push("list", vec![u8::try_from(by).unwrap()]).await.unwrap();
        }
        assert_eq!((hers.increment("count", 0).await.unwrap(), his.increment("count", 0).await.unwrap()), (1, 10));
        assert_eq!(hers.range("list", 0, 9).await.unwrap(), [vec![1]]);
        assert_eq!(his.range("list", 0, 9).await.unwrap(), [vec![10]]);
        assert!(his.delete("key").await.unwrap());
        assert_eq!(hers.get("key").await.unwrap().unwrap(), b"hers");
    }

    async fn per_5_a_message_reaches_its_own_users_listeners_alone(island: Island) {
        let cache = |name| island.engine(&context(&island.user(name))).redis_manager().unwrap();
        let (hers, his) = (cache("ada"), cache("bob"));
        let (mut first, mut second) = (hers.subscribe("news").await.unwrap(), his.subscribe("news").await.unwrap());
        hers.publish("news", b"for the first".to_vec()).await.unwrap();
        his.publish("news", b"for the second".to_vec()).await.unwrap();
        assert_eq!(first.next().await.unwrap(), b"for the first");
        assert_eq!(second.next().await.unwrap(), b"for the second");
    }

    async fn per_5_with_the_cache_down_the_run_works_and_says_degraded(island: Island) {
        let worked = Gauge::default();
        let island = island.class(librarian(&worked)).backend(|ports| ports.cache = Some(Arc::new(Down)));
        let ada = island.user("ada");
        for times in 1..=2 {
            let outcome = island.run(&ada, "librarian", json!("q")).await;
            let said = outcome.result().unwrap();
            assert_eq!((&said["answer"], worked.ever()), (&json!("\"q\" for acme/ada"), times));
            assert!(said["degraded"].as_str().unwrap().contains("cache is unavailable"), "{said}");
        }
        let down = island.engine(&context(&ada)).redis_manager().unwrap().get("absent").await.unwrap_err();
        assert!(matches!(&down, Error::Unavailable { what: "cache", .. }) && down.is_transient(), "{down}");
    }

    async fn per_9_the_same_query_of_two_users_is_worked_out_for_each(island: Island) {
        let worked = Gauge::default();
        let island = island.class(librarian(&worked));
        for round in 0..2 {
            for owner in island.users(3) {
                let outcome = island.run(&owner, "librarian", json!("SELECT 1")).await;
                let expected = json!({"answer": format!("\"SELECT 1\" for {owner}"), "degraded": null});
                assert_eq!(outcome.result().unwrap(), &expected, "round {round}");
            }
        }
        assert_eq!(worked.ever(), 3, "once for each user, and from the cache after that");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn per_5_a_value_is_gone_after_its_time_to_live() {
    for backing in [Backing::Memory, Backing::sqlite()] {
        let clock = HandClock::new();
        let island = Island::new(backing.open(clock.clone()));
        let cache = island.engine(&context(&island.user("ada"))).redis_manager().unwrap();
        cache.set("short", b"s".to_vec(), Some(Duration::from_secs(10))).await.unwrap();
        cache.set("for ever", b"f".to_vec(), None).await.unwrap();
        clock.advance(Duration::from_secs(9));
        assert_eq!(cache.get("short").await.unwrap().unwrap(), b"s");
        clock.advance(Duration::from_secs(2));
        assert_eq!(cache.get("short").await.unwrap(), None, "{backing:?}");
        assert_eq!(cache.get("for ever").await.unwrap().unwrap(), b"f");
    }
}

/// A cache that does not answer.
struct Down;

impl Down {
    fn refuse<T>(operation: &'static str) -> Result<T, Refused> {
        Err(Refused::Unavailable { operation, component: "cache", source: None })
    }
}

#[async_trait]
impl RedisManager for Down {
    async fn get(&self, _: &UserScope, _: &str) -> Result<Option<Bytes>, Refused> {
        Self::refuse("get")
    }

    async fn set(&self, _: &UserScope, _: &str, _: Bytes, _: Option<Duration>) -> Result<(), Refused> {
        Self::refuse("set")
    }

    async fn delete(&self, _: &UserScope, _: &str) -> Result<bool, Refused> {
        Self::refuse("delete")
    }

    async fn clear(&self, _: &UserScope) -> Result<(), Refused> {
        Self::refuse("clear")
    }

    async fn increment(&self, _: &UserScope, _: &str, _: i64) -> Result<i64, Refused> {
        Self::refuse("increment")
    }

    async fn push(&self, _: &UserScope, _: &str, _: Bytes) -> Result<u64, Refused> {
        Self::refuse("push")
    }

    async fn range(&self, _: &UserScope, _: &str, _: usize, _: usize) -> Result<Vec<Bytes>, Refused> {
        Self::refuse("range")
    }

    async fn publish(&self, _: &UserScope, _: &str, _: Bytes) -> Result<(), Refused> {
        Self::refuse("publish")
    }

    async fn subscribe(&self, _: &UserScope, _: &str) -> Result<CacheSubscription, Refused> {
        Self::refuse("subscribe")
    }
}
