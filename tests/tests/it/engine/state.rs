//! What agents remember, and how far it reaches.

use futures::future::join_all;
use insula_agent::Space;
use serde_json::{Value, json};

use super::stage::class;
use crate::support::{Island, context, context_in, on_every_backend};

const SPACES: [(&str, Space); 4] =
    [("run", Space::Run), ("thread", Space::Thread), ("user", Space::User), ("agent", Space::Agent)];

/// Writes its input into every space, or, without one, returns what it finds in each.
fn notebook(name: &str) -> insula_registry::AgentClass {
    class(name, |session, input| async move {
        let mut found = serde_json::Map::new();
        for (name, space) in SPACES {
            if input.is_null() {
                found.insert(name.to_owned(), session.state(space).get::<Value>("note").await?.unwrap_or(json!("-")));
            } else {
                session.state(space).set("note", &input).await?;
            }
        }
        Ok(found.into())
    })
}

on_every_backend! {
    async fn eng_14_ten_writers_with_compare_and_set_lose_nothing(island: Island) {
        let adder = class("adder", |session, _| async move {
            for _ in 0..5 {
                session.state(Space::User).update("sum", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
            }
            Ok(json!(true))
        });
        let reader = class("reader", |session, _| async move {
            Ok(json!(session.state(Space::User).versioned::<u64>("sum").await?))
        });
        let island = island.class(adder).class(reader);
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let outcomes = join_all((0..10).map(|_| island.run(&ada, "adder", json!(1)))).await;
        assert!(outcomes.iter().all(insula_engine::Outcome::is_success), "{outcomes:?}");
        assert_eq!(island.run(&ada, "reader", json!(1)).await.result(), Some(&json!([50, 50])), "value and version");
        assert_eq!(island.run(&bob, "reader", json!(1)).await.end.reason(), "returned_nothing", "his is empty");
    }

    async fn eng_14_each_space_reaches_as_far_as_it_says(island: Island) {
        let island = island.class(notebook("one")).class(notebook("two"));
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        let written = context(&ada);
        assert!(island.engine(&written).execute_agent(&written, "one", json!("hers")).await.unwrap().is_success());
        let read = async |scope, thread, class| {
            let context = context_in(scope, thread);
            let outcome = island.engine(&context).execute_agent(&context, class, Value::Null).await.unwrap();
            SPACES.map(|(name, _)| outcome.result().unwrap()[name] == "hers")
        };
        let (here, elsewhere) = (written.thread(), context(&ada).thread().clone());
        assert_eq!(read(&ada, here, "one").await, [false, true, true, true], "same thread and class");
        assert_eq!(read(&ada, here, "two").await, [false, true, true, false], "another class");
        assert_eq!(read(&ada, &elsewhere, "one").await, [false, false, true, true], "another thread");
        assert_eq!(read(&bob, here, "one").await, [false; 4], "another user, in a thread of the same name");
    }
}
