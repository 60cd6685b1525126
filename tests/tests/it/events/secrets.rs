//! What a user sees holds no secret and nothing of the machine.

use insula_agent::Error;
use serde_json::{Value, json};

use super::order::take;
use crate::{
    engine::stage::{caller, class, data, log_of, spec},
    support::{Island, context, on_every_backend, words},
};

/// Secrets under every kind of name, at several depths.
fn secretive() -> Value {
    json!({
        "query": "weather", "api_key": "s3cr3t-1", "max_tokens": 5,
        "headers": [{"Authorization": "s3cr3t-2"}, {"X-Api-Key": "s3cr3t-3"}],
        "db": {"deep": {"PASSWORD": "s3cr3t-4", "client_secret": {"a": ["s3cr3t-5"]}}, "token": "s3cr3t-6"},
    })
}

on_every_backend! {
    async fn evt_22_secrets_are_hidden_in_every_event_and_only_there(island: Island) {
        let leaking = class("leaking", |session, input| async move {
            session.emit("progress", &input)?;
            let back = session.call_tool("mirror", &input).await?;
            assert_eq!(back, input, "the agent gets the whole value");
            let back = session.call_agent("echo", &input).await?;
            assert_eq!(back["echo"], input);
            let step: Value = session.step("keep", insula_agent::Effect::Pure, async || Ok(input.clone())).await?;
            Ok(step)
        });
        let mirror = insula_agent::tool_fn(spec("mirror"), |_, arguments: Value| async move { Ok(arguments) });
        let island = island.class(leaking).tool(mirror);
        let ada = island.user("ada");
        let context = context(&ada);
        let outcome = island.engine(&context).execute_agent(&context, "leaking", secretive()).await.unwrap();
        assert_eq!(outcome.result(), Some(&secretive()), "whoever asked gets the whole value");
        let mut stream = island.factory().events(&ada, context.thread(), 0);
        let log = take(&mut stream, 9).await;
        let said = words(&log);
        assert!(!said.contains("s3cr3t"), "{said}");
        assert_eq!(said.matches("weather").count(), 9, "everything else is there: {said}");
        let record = crate::engine::stage::record_of(&island, &context).await;
        assert!(!serde_json::to_string(&record).unwrap().contains("s3cr3t"));
    }

    async fn evt_22_no_path_and_no_backtrace_reaches_a_user(island: Island) {
        let failing = class("failing", |_, input| async move {
            let cause = std::io::Error::other("/srv/insula/cause.db is broken");
            Err(Error::caused(input.as_str().unwrap_or_default(), cause))
        });
        let broken = insula_agent::tool_fn(spec("broken"), |_, arguments: Value| async move {
            Err::<Value, _>(Error::failed(arguments.as_str().unwrap_or_default()))
        });
        let island = island.class(failing).class(caller("calling", "broken")).tool(broken);
        let ada = island.user("ada");
        let messages = [
            "cannot open /srv/insula/ada.db: denied",
            "cannot open \"/srv/insula/ada.db\", denied",
            "open(/srv/insula/ada.db) failed",
            "path=/srv/insula/ada.db is missing",
            "at file:///srv/insula/ada.db",
            "C:\\insula\\srv\\ada.db is missing",
            "boom\nstack backtrace:\n   0: /srv/insula/src/main.rs:7",
            "boom at src/insula/main.rs:7:9",
        ];
        for message in messages {
            for class in ["failing", "calling"] {
                let context = context(&ada);
                let outcome = island.engine(&context).execute_agent(&context, class, json!(message)).await.unwrap();
                let log = log_of(&island, &context).await;
                let last = data(log.last().unwrap())["message"].as_str().unwrap().to_owned();
                assert_eq!(outcome.end.message(), Some(last.clone()));
                // The input is the user's own; what the platform says of it is not.
                let said = words(&log[log.len() - 1..]);
                assert!(!said.contains("insula") && !said.contains("backtrace"), "{class}, {message:?}: {last}");
            }
        }
    }
}
