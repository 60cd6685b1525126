//! What fails, fails where it is needed; what ends, ends in order.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use insula_context::UserScope;
use insula_engine::{Error, RunRequest, StreamItem};
use insula_infra::{
    CacheSubscription, DatabaseSession, DatabaseSessionManager, Error as InfraError, Quota, RateLimit, RedisManager,
    RunStatus, Taken,
};
use insula_registry::{AgentClass, Dependency};
use serde_json::json;

use crate::{
    engine::stage::{Gate, caller, class, ended_as, held, nothing_is_left, spec},
    support::{Gauge, Island, context, in_virtual_time, log::runs_of, on_every_backend, until},
};

/// A dependency that does not answer.
struct Down;

fn down<T>(component: &'static str) -> Result<T, InfraError> {
    Err(InfraError::Unavailable { operation: "ask", component, source: None })
}

#[async_trait]
impl RedisManager for Down {
    async fn get(&self, _: &UserScope, _: &str) -> Result<Option<Bytes>, InfraError> {
        down("cache")
    }
    async fn set(&self, _: &UserScope, _: &str, _: Bytes, _: Option<Duration>) -> Result<(), InfraError> {
        down("cache")
    }
    async fn delete(&self, _: &UserScope, _: &str) -> Result<bool, InfraError> {
        down("cache")
    }
    async fn clear(&self, _: &UserScope) -> Result<(), InfraError> {
        down("cache")
    }
    async fn increment(&self, _: &UserScope, _: &str, _: i64) -> Result<i64, InfraError> {
        down("cache")
    }
    async fn push(&self, _: &UserScope, _: &str, _: Bytes) -> Result<u64, InfraError> {
        down("cache")
    }
    async fn range(&self, _: &UserScope, _: &str, _: usize, _: usize) -> Result<Vec<Bytes>, InfraError> {
        down("cache")
    }
    async fn publish(&self, _: &UserScope, _: &str, _: Bytes) -> Result<(), InfraError> {
        down("cache")
    }
    async fn subscribe(&self, _: &UserScope, _: &str) -> Result<CacheSubscription, InfraError> {
        down("cache")
    }
}

#[async_trait]
impl DatabaseSessionManager for Down {
    async fn open(&self, _: &UserScope) -> Result<Box<dyn DatabaseSession>, InfraError> {
        down("database")
    }
    async fn forget_user(&self, _: &UserScope) -> Result<(), InfraError> {
        down("database")
    }
    fn open_sessions(&self) -> usize {
        0
    }
}

#[async_trait]
impl Quota for Down {
    async fn take(&self, _: &UserScope, _: &RateLimit, _: u64) -> Result<Taken, InfraError> {
        down("quota")
    }
}

on_every_backend! {
    async fn res_3_with_several_dependencies_down_only_who_needs_them_fails(island: Island) {
        let caching = class("caching", |session, _| async move {
            session.cache()?.set("k", b"v".to_vec(), None).await?;
            Ok(json!(true))
        });
        let storing = class("storing", |session, _| async move {
            session.database()?.begin().await?.commit().await?;
            Ok(json!(true))
        });
        let limited = spec("limited").rate(100, Duration::from_secs(60));
        let limited = insula_agent::tool_fn(limited, |_, n: serde_json::Value| async move { Ok(n) });
        let island = island.class(caching).class(storing).class(caller("limited", "limited")).tool(limited);
        let island = island.backend(|ports| {
            ports.cache = Some(Arc::new(Down));
            ports.database = Some(Arc::new(Down));
            ports.quota = Arc::new(Down);
        });
        let users = island.users(6);
        let classes = [("caching", "cache"), ("echo", ""), ("storing", "database"), ("tools", ""), ("limited", "rate"), ("chatty", "")];
        let outcomes = join_all(users.iter().zip(classes).map(async |(scope, (class, lacks))| {
            (class, lacks, island.run(scope, class, json!(1)).await)
        }))
        .await;
        for (class, lacks, outcome) in outcomes {
            match lacks {
                "" => assert!(outcome.is_success(), "{class} needs none of them: {outcome:?}"),
                lacks => {
                    assert_eq!(outcome.end.reason(), "error", "{class}: no fabricated success");
                    assert!(outcome.end.message().unwrap().contains(lacks), "{outcome:?}");
                }
            }
        }
        nothing_is_left(&island, &users.iter().collect::<Vec<_>>()).await;
    }

    async fn res_5_admission_says_what_is_missing_and_how_to_mend_it(island: Island) {
        let needy = |name: &str, need| AgentClass::new(name, "1", insula_agent::kit::echo).needs(need);
        let island = island.class(needy("oracle", Dependency::Service("model".to_owned())));
        let island = island.class(needy("digger", Dependency::Tool("spade".to_owned())));
        let island = island.class(needy("cacher", Dependency::Cache)).backend(|ports| ports.cache = None);
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        for (class, missing) in [("oracle", "model"), ("digger", "spade"), ("cacher", "cache")] {
            let refused = engine.execute_agent(&context, class, json!(1)).await.unwrap_err().to_string();
            assert!(refused.contains(class) && refused.contains(missing), "{refused}");
            assert!(refused.contains("not configured"), "what to do is configure it: {refused}");
        }
        let unknown = engine.execute_agent(&context, "ecco", json!(1)).await.unwrap_err().to_string();
        assert!(unknown.contains("there are: ") && unknown.contains("echo"), "{unknown}");
        assert_eq!(island.factory().metrics().instances_made, 0);
        assert!(runs_of(island.ports(), &ada).await.is_empty());
    }

    async fn res_6_a_shutdown_lets_twenty_runs_end_and_takes_no_new_work(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let users = island.users(20);
        let factory = island.factory();
        let contexts: Vec<_> = users.iter().map(context).collect();
        let engines: Vec<_> = contexts.iter().map(|context| island.engine(context)).collect();
        let runs = join_all(engines.iter().zip(&contexts).map(|(engine, cx)| engine.execute_agent(cx, "held", json!(1))));
        let drain = async {
            until("twenty run", || gauge.now() == 20).await;
            let ending = async { factory.shutdown(Duration::from_secs(60)).await };
            let meanwhile = async {
                tokio::task::yield_now().await;
                let closed = |error: Option<Error>| assert!(matches!(error, Some(Error::ShutDown)), "{error:?}");
                closed(factory.create_for_user(&contexts[0].next_run()).err());
                closed(factory.submit(&users[0], RunRequest::new("echo", json!(1))).await.err());
                closed(engines[0].execute_agent(&contexts[0].next_run(), "echo", json!(1)).await.err());
                gate.open();
            };
            tokio::join!(ending, meanwhile).0
        };
        let (outcomes, stopped) = tokio::join!(runs, drain);
        assert_eq!(stopped, 0);
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().is_success()));
        for (scope, context) in users.iter().zip(&contexts) {
            assert_eq!(ended_as(&island, scope, RunStatus::Completed).await, 1);
            let mut stream = factory.run_events(scope, context.run(), 1).await.unwrap().unwrap();
            let last = stream.next().await.unwrap();
            assert!(matches!(last, Some(StreamItem::Event(event)) if event.kind.is_terminal()));
        }
        drop(engines);
        nothing_is_left(&island, &users.iter().collect::<Vec<_>>()).await;
    }

    async fn res_6_a_shutdown_stops_what_does_not_end_in_time_and_every_stream_gets_its_end(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let users = island.users(20);
        let factory = island.factory();
        let contexts: Vec<_> = users.iter().map(context).collect();
        let engines: Vec<_> = contexts.iter().map(|context| island.engine(context)).collect();
        let runs = join_all(engines.iter().zip(&contexts).map(|(engine, cx)| engine.execute_agent(cx, "held", json!(1))));
        let readers = join_all(contexts.iter().map(async |context| {
            let mut stream = factory.events(context.scope(), context.thread(), 0);
            loop {
                match stream.next().await.unwrap() {
                    Some(StreamItem::Event(event)) if event.kind.is_terminal() => return event.kind.as_str(),
                    Some(_) => {}
                    None => panic!("a thread's stream ended"),
                }
            }
        }));
        let drain = async {
            until("twenty run", || gauge.now() == 20).await;
            factory.shutdown(Duration::from_millis(20)).await
        };
        let (outcomes, ends, stopped) = tokio::join!(runs, readers, drain);
        assert_eq!((stopped, gauge.now()), (20, 0));
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().end.reason() == "cancelled"));
        assert_eq!(ends, ["agent_cancelled"; 20]);
        drop(engines);
        nothing_is_left(&island, &users.iter().collect::<Vec<_>>()).await;
    }

    async fn res_6_submitted_runs_that_were_not_begun_are_left_for_another_process(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate)).limits(|limits| limits.claimed = 1);
        let ada = island.user("ada");
        let factory = island.factory();
        let first = factory.submit(&ada, RunRequest::new("held", json!(1))).await.unwrap();
        until("the first one runs", || gauge.now() == 1).await;
        let second = factory.submit(&ada, RunRequest::new("held", json!(2))).await.unwrap();
        let (stopped, ()) = tokio::join!(factory.shutdown(Duration::from_secs(60)), async { gate.open() });
        assert_eq!(stopped, 0);
        assert_eq!(factory.wait(&ada, &first).await.unwrap().unwrap().status, RunStatus::Completed);
        let waiting = island.ports().runs.run(&ada, &second).await.unwrap().unwrap();
        assert_eq!(waiting.status, RunStatus::Queued, "nobody took it, and nobody ended it");
        let successor = island.another();
        successor.work();
        assert_eq!(successor.wait(&ada, &second).await.unwrap().unwrap().status, RunStatus::Completed);
    }
}

in_virtual_time! {
    async fn res_6_a_shutdown_waits_no_longer_than_its_grace(island: Island) {
        let (gauge, gate) = (Gauge::default(), Gate::closed());
        let island = island.class(held("held", &gauge, &gate));
        let ada = island.user("ada");
        let context = context(&ada);
        let engine = island.engine(&context);
        let drain = async {
            until("it runs", || gauge.now() == 1).await;
            let began = tokio::time::Instant::now();
            assert_eq!(island.factory().shutdown(Duration::from_secs(30)).await, 1);
            began.elapsed()
        };
        let (outcome, took) = tokio::join!(engine.execute_agent(&context, "held", json!(1)), drain);
        assert_eq!(outcome.unwrap().end.reason(), "cancelled");
        assert!((30..32).contains(&took.as_secs()), "{took:?}");
    }
}
