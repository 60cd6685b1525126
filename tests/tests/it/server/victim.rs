//! A user who has something of everything, with a canary in every value.

use std::collections::BTreeMap;

use insula_agent::Question;
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::{house::House, web::Caller};
use crate::{
    engine::stage::class,
    support::{Island, until_async},
};

/// What nobody else may see. Ids have none: whoever tries them sends them.
pub(super) const CANARY: &str = "canary-of-ada";

/// A class that says its input in every way there is, and asks.
pub(super) fn asking() -> AgentClass {
    class("asking", move |session, input: Value| async move {
        let said = input["say"].as_str().unwrap_or_default().to_owned();
        session.think(&said);
        session.emit("said", json!({"said": said}))?;
        session.call_tool("keep", json!({"kept": said})).await?;
        session.call_agent("echo", &input).await?;
        let answer: Value = session.ask(Question::new(format!("What of {said}?"))).await?;
        Ok(json!({"said": said, "answer": answer}))
    })
}

/// An island whose people can have something.
pub(super) fn furnished(island: Island) -> Island {
    let keep = insula_agent::tool_fn(crate::engine::stage::spec("keep"), |_, kept: Value| async move { Ok(kept) });
    island.class(asking()).tool(keep)
}

/// The victim, and the ids of everything that she has.
pub(super) struct Victim {
    pub(super) caller: Caller,
    ids: BTreeMap<&'static str, String>,
}

impl Victim {
    /// Plants everything.
    pub(super) async fn settle(house: &House) -> Self {
        let caller = house.user("ada").await;
        let run = waiting(&caller).await;
        let large = large(&caller).await;
        let schedule = json!({"cron": "0 0 1 1 *", "agent": "echo", "input": CANARY});
        caller.ask("PUT", "/v1/schedules/yearly", Some(&schedule)).await.is(200);
        caller.post("/v1/threads", json!({"thread_id": "ada-other"})).await.is(201);
        let order = json!({"name": format!("{CANARY} laptop")});
        let key = caller.post("/v1/keys", order).await.is(201);
        let ids = [
            ("run_id", run),
            ("thread_id", "ada-thread".to_owned()),
            ("other_thread_id", "ada-other".to_owned()),
            ("name", "yearly".to_owned()),
            ("hash", large),
            ("key_id", key["key_id"].as_str().unwrap().to_owned()),
            ("tenant_id", "acme".to_owned()),
            ("user_id", "ada".to_owned()),
        ];
        Self { caller, ids: ids.into() }
    }

    /// The text with her ids in their places.
    pub(super) fn fill(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
    }

    /// Everything that she can see of hers.
    pub(super) async fn holdings(&self) -> Vec<String> {
        let paths = [
            "/v1/runs?limit=1000",
            "/v1/runs/{run_id}",
            "/v1/runs/{run_id}/events?limit=1000",
            "/v1/threads?limit=1000",
            "/v1/threads/{thread_id}/events?limit=1000",
            "/v1/inbox",
            "/v1/schedules",
            "/v1/webhooks",
            "/v1/usage",
            "/v1/audit?limit=1000",
            "/v1/payloads/{hash}",
        ];
        let mut holdings = Vec::new();
        for path in paths {
            let answer = self.caller.get(&self.fill(path)).await;
            answer.is(200);
            holdings.push(answer.text);
        }
        let keys = self.caller.get("/v1/keys").await.is(200);
        let mut keys = keys["items"].as_array().unwrap().clone();
        // It is used just now.
        keys.iter_mut().for_each(|key| key["last_used_at"] = Value::Null);
        holdings.push(Value::Array(keys).to_string());
        holdings
    }
}

/// A run that waits for an answer, with a webhook that waits for its end.
async fn waiting(caller: &Caller) -> String {
    let webhook = json!({"url": format!("https://example.org/{CANARY}"), "secret": format!("{CANARY}-secret")});
    let order = json!({"agent": "asking", "input": {"say": CANARY}, "thread_id": "ada-thread", "run_id": "ada-run",
                       "webhook": webhook});
    let run = caller.submitted(order).await;
    until_async("it asks and is not in memory any more", async || {
        let asked = !caller.get("/v1/inbox").await.is(200)["items"].as_array().unwrap().is_empty();
        asked && caller.get(&format!("/v1/runs/{run}")).await.is(200)["status"] == "waiting"
    })
    .await;
    run
}

/// The hash of a value that is kept by reference.
async fn large(caller: &Caller) -> String {
    let run = caller.ended(json!({"agent": "echo", "input": CANARY.repeat(2_000)})).await;
    let run = run["run_id"].as_str().unwrap();
    let events = caller.get(&format!("/v1/runs/{run}/events")).await;
    let (_, from) = events.text.split_once("\"$payload\":\"").expect("it is kept by reference");
    from[..64].to_owned()
}
