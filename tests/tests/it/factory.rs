//! The engine factory: what it lends, counts and takes back.

mod lifetimes;

use futures::future::join_all;
use insula_agent::{Resources, agent_fn};
use insula_context::UserExecutionContext;
use insula_engine::{Error, UserExecutionEngine};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use crate::support::{Gate, Island, context, log::runs_of, on_every_backend};

/// Stores its input as a row and in the cache, and returns what it reads back. Where there is no database it says so.
fn keeper() -> AgentClass {
    AgentClass::new("keeper", "1", || {
        agent_fn(|session, input| async move {
            let text = input.to_string();
            let rows = match session.database() {
                Ok(database) => {
                    let mut tx = database.begin().await?;
                    tx.execute("CREATE TABLE IF NOT EXISTS kept (text TEXT)", &[]).await?;
                    tx.execute("INSERT INTO kept VALUES ($1)", &[text.clone().into()]).await?;
                    let rows = tx.fetch("SELECT text FROM kept", &[]).await?;
                    tx.commit().await?;
                    json!(rows.iter().map(insula_context::SqlRow::to_json).collect::<Vec<_>>())
                }
                Err(unavailable) => json!(unavailable.to_string()),
            };
            let cache = session.cache()?;
            cache.set("kept", text.into_bytes(), None).await?;
            let cached = cache.get("kept").await?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            Ok(json!({"rows": rows, "cached": cached}))
        })
    })
}

async fn rows(engine: &UserExecutionEngine) -> Vec<Value> {
    let mut tx = engine.database_session_manager().unwrap().begin().await.unwrap();
    let rows = tx.fetch("SELECT text FROM kept", &[]).await.unwrap();
    tx.rollback().await.unwrap();
    rows.iter().map(insula_context::SqlRow::to_json).collect()
}

async fn cached(engine: &UserExecutionEngine) -> Option<Vec<u8>> {
    engine.redis_manager().unwrap().get("kept").await.unwrap()
}

fn open_sessions(island: &Island) -> usize {
    island.ports().database.as_ref().map_or(0, |database| database.open_sessions())
}

on_every_backend! {
    async fn enf_1_what_an_agent_stores_is_there_under_its_user(island: Island) {
        let island = island.class(keeper());
        let (ada, bob) = (context(&island.user("ada")), context(&island.user("bob")));
        let (hers, his) = (island.engine(&ada), island.engine(&bob));
        let outcome = hers.execute_agent(&ada, "keeper", json!("mine")).await.unwrap();
        assert!(outcome.is_success(), "{outcome:?}");
        assert_eq!(cached(&hers).await.unwrap(), b"\"mine\"");
        assert_eq!(cached(&his).await, None);
        match &island.ports().database {
            Some(_) => assert_eq!(rows(&hers).await, [json!({"text": "\"mine\""})]),
            None => assert!(outcome.result().unwrap()["rows"].as_str().unwrap().contains("database is unavailable")),
        }
        assert_eq!(open_sessions(&island), 0);
    }

    async fn enf_1_what_is_not_configured_is_unavailable_by_name(island: Island) {
        let island = island.class(keeper()).backend(|ports| (ports.database, ports.cache) = (None, None));
        let ada = context(&island.user("ada"));
        let engine = island.engine(&ada);
        let database = engine.database_session_manager().err().unwrap();
        assert!(matches!(database, Error::Unavailable { what: "database" }), "{database}");
        let cache = engine.redis_manager().err().unwrap();
        assert!(matches!(cache, Error::Unavailable { what: "cache" }), "{cache}");
        let state = engine.state("keeper");
        assert!(matches!(state.cache().err().unwrap(), insula_agent::Error::Unavailable { what: "cache", .. }));
        let outcome = engine.execute_agent(&ada, "keeper", json!("mine")).await.unwrap();
        assert_eq!(outcome.end.reason(), "error");
        assert!(outcome.end.message().unwrap().contains("cache is unavailable"), "{outcome:?}");
    }

    async fn enf_2_five_users_at_once_read_only_their_own_and_leave_nothing_open(island: Island) {
        let island = island.class(keeper());
        let has_database = island.ports().database.is_some();
        let users = island.users(5);
        let journeys = users.iter().map(|owner| async {
            let context = context(owner);
            let engine = island.engine(&context);
            let outcome = engine.execute_agent(&context, "keeper", json!(owner.to_string())).await.unwrap();
            let found = if has_database { rows(&engine).await } else { Vec::new() };
            (outcome, found, cached(&engine).await.unwrap())
        });
        for (owner, (outcome, rows, cached)) in users.iter().zip(join_all(journeys).await) {
            let own = json!(owner.to_string()).to_string();
            assert!(outcome.is_success(), "{outcome:?}");
            assert_eq!(cached, own.as_bytes());
            assert_eq!(rows, if has_database { vec![json!({"text": own})] } else { vec![] });
        }
        let metrics = island.factory().metrics();
        assert_eq!((open_sessions(&island), metrics.engines_live, metrics.instances_live), (0, 0, 0));
    }

    async fn enf_3_the_third_engine_is_refused_by_user_and_limit_over_all_handles(island: Island) {
        let island = island.limits(|limits| limits.engines = 2);
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let handles = [island.factory().clone(), island.factory().clone(), island.factory().clone()];
        let first = handles[0].create_for_user(&context(&ada)).unwrap();
        let _second = handles[1].create_for_user(&context(&ada)).unwrap();
        let refused = handles[2].create_for_user(&context(&ada)).unwrap_err();
        let Error::Limit { user, limit, .. } = &refused else { panic!("{refused}") };
        assert_eq!((user, limit), (&ada, &2));
        assert!(refused.to_string().contains("acme/ada") && refused.to_string().contains('2'), "{refused}");
        assert!(refused.is_transient());
        let _his = handles[2].create_for_user(&context(&bob)).unwrap();
        drop(first);
        let _third = handles[2].create_for_user(&context(&ada)).unwrap();
        assert!(handles[0].create_for_user(&context(&ada)).is_err(), "one was freed, not two");
        let metrics = island.factory().metrics();
        assert_eq!((metrics.engines_live, metrics.engines_created, metrics.engines_cleaned), (3, 4, 1));
    }

    async fn enf_3_the_limit_holds_when_many_ask_at_once(island: Island) {
        let island = island.limits(|limits| limits.engines = 2);
        let ada = island.user("ada");
        let asking = (0..32).map(|_| {
            let (factory, context) = (island.factory().clone(), context(&ada));
            tokio::spawn(async move { factory.create_for_user(&context) })
        });
        let made: Vec<_> = join_all(asking).await.into_iter().filter_map(|asked| asked.unwrap().ok()).collect();
        assert_eq!((made.len(), island.factory().metrics().engines_live), (2, 2));
        drop(made);
        assert_eq!(island.factory().metrics().users_live, 0, "the account of a user without anything is kept");
    }

    async fn enf_5_a_second_live_engine_for_the_same_run_is_refused_without_a_trace(island: Island) {
        let island = island.limits(|limits| limits.engines = 2);
        let ada = context(&island.user("ada"));
        let first = island.engine(&ada);
        let before = island.factory().metrics();
        for _ in 0..3 {
            let refused = island.factory().create_for_user(&ada).unwrap_err();
            assert!(matches!(&refused, Error::EngineExists { run } if run == ada.run()), "{refused}");
        }
        assert_eq!(island.factory().metrics(), before);
        let _room = island.factory().create_for_user(&ada.next_run()).expect("no refusal took a place");
        // The same run id of somebody else is another run.
        let bob = island.user("bob");
        let namesake = UserExecutionContext::builder(bob, ada.thread().clone(), ada.run().clone()).build().unwrap();
        drop(island.factory().create_for_user(&namesake).unwrap());
        first.shutdown();
        island.factory().create_for_user(&ada).expect("the first is over");
    }

    async fn enf_6_the_metrics_tell_the_truth_at_every_step(island: Island) {
        let users = island.users(4);
        let counts = || {
            let metrics = island.factory().metrics();
            (metrics.engines_live, metrics.engines_created, metrics.engines_cleaned)
        };
        assert_eq!(counts(), (0, 0, 0));
        let engines: Vec<_> = users[..3].iter().map(|owner| island.engine(&context(owner))).collect();
        assert_eq!(counts(), (3, 3, 0));
        let inside = island.factory().with_engine(&context(&users[3]), async |_| Ok::<_, Error>(counts())).await;
        assert_eq!(inside.unwrap(), (4, 4, 0));
        assert_eq!(counts(), (3, 4, 1));
        engines[0].shutdown();
        engines[0].shutdown();
        assert_eq!(counts(), (2, 4, 2), "a shutdown counts once");
        drop(engines);
        assert_eq!(counts(), (0, 4, 4));
    }
}
