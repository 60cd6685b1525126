//! Large values by reference, and back.

use insula_agent::tool_fn;
use insula_infra::{Payload, PayloadHash};
use serde_json::{Value, json};

use crate::{
    engine::stage::{caller, class, data, log_of, record_of, spec},
    support::{Island, context, on_every_backend},
};

/// A text that is just small enough or just too large to stay inside its event, its quotes included.
fn text(more: usize) -> Value {
    json!("x".repeat(Payload::INLINE_BYTES - 2 + more))
}

/// What a reference in an event leads to.
async fn fetched(island: &Island, scope: &insula_context::UserScope, reference: &Value) -> Option<Value> {
    let hash: PayloadHash = reference["$payload"].as_str()?.parse().unwrap();
    let bytes = island.ports().log.payload(scope, &hash).await.unwrap()?;
    assert_eq!(reference["bytes"], json!(bytes.len()));
    Some(serde_json::from_slice(&bytes).unwrap())
}

on_every_backend! {
    async fn a_value_over_the_limit_stands_in_its_events_by_reference_and_comes_back_whole(island: Island) {
        let mirror = tool_fn(spec("mirror"), |_, arguments: Value| async move { Ok(arguments) });
        let island = island.class(caller("calling", "mirror")).tool(mirror);
        let (ada, bob) = (island.user("ada"), island.user("bob"));
        for (more, by_reference) in [(0, false), (1, true)] {
            let (context, value) = (context(&ada), text(more));
            let outcome = island.engine(&context).execute_agent(&context, "calling", value.clone()).await.unwrap();
            assert_eq!(outcome.result(), Some(&value), "whoever asked gets the whole value");
            let log = log_of(&island, &context).await;
            let places = ["input", "arguments", "result", "result"];
            for (event, place) in log.iter().zip(places) {
                let shown = data(event)[place].clone();
                match by_reference {
                    false => assert_eq!(shown, value, "{} at the limit", event.kind),
                    true => {
                        assert!(serde_json::to_string(event).unwrap().len() < 1_000, "{} is small", event.kind);
                        assert_eq!(fetched(&island, &ada, &shown).await.as_ref(), Some(&value), "{}", event.kind);
                        assert_eq!(fetched(&island, &bob, &shown).await, None, "another user has no such payload");
                    }
                }
            }
            let kept: Value = serde_json::from_str(record_of(&island, &context).await.result.unwrap().get()).unwrap();
            assert_eq!(kept["$payload"].is_string(), by_reference);
        }
    }

    async fn a_large_value_with_secrets_comes_back_without_them(island: Island) {
        let mirror = tool_fn(spec("mirror"), |_, arguments: Value| async move { Ok(arguments) });
        let island = island.class(caller("calling", "mirror")).tool(mirror);
        let ada = island.user("ada");
        let context = context(&ada);
        let value = json!({"page": text(1), "password": "s3cr3t"});
        let outcome = island.engine(&context).execute_agent(&context, "calling", value.clone()).await.unwrap();
        assert_eq!(outcome.result(), Some(&value));
        let log = log_of(&island, &context).await;
        for (event, place) in log.iter().zip(["input", "arguments", "result", "result"]) {
            let shown = fetched(&island, &ada, &data(event)[place]).await.unwrap();
            assert_eq!(shown, json!({"page": text(1), "password": "[redacted]"}), "{}", event.kind);
        }
    }

    async fn an_agents_own_large_event_is_stored_by_reference_too(island: Island) {
        let emitting = class("emitting", |session, input| async move {
            session.emit("page", &input)?;
            Ok(json!(true))
        });
        let island = island.class(emitting);
        let ada = island.user("ada");
        let context = context(&ada);
        assert!(island.engine(&context).execute_agent(&context, "emitting", text(1)).await.unwrap().is_success());
        let log = log_of(&island, &context).await;
        let shown = data(&log[1])["data"].clone();
        assert_eq!(fetched(&island, &ada, &shown).await, Some(text(1)), "{} bytes in one event", log[1].data.get().len());
    }
}
