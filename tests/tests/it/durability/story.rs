//! An agent that does one of everything, and tools that remember who called them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_agent::{Effect, Error, Question, Result, Session, Tool, ToolCall, ToolFailure, tool_fn};
use insula_context::{RunId, UserScope};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use crate::{
    engine::stage::{class, spec},
    support::Island,
};

/// Which tool was called for whom, and with which key. A clone is the same ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<(UserScope, String, String)>>>);

impl Ledger {
    pub(super) fn note(&self, tool: &str, call: &ToolCall) {
        let entry = (call.context().scope().clone(), tool.to_owned(), call.key().to_owned());
        self.0.lock().unwrap().push(entry);
    }

    /// The keys of a user's calls of a tool, in order.
    pub(super) fn keys(&self, scope: &UserScope, tool: &str) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        let own = entries.iter().filter(|(owner, name, _)| owner == scope && name == tool);
        own.map(|(_, _, key)| key.clone()).collect()
    }

    /// A tool that is noted here and answers with `answer`.
    pub(super) fn tool(
        &self,
        name: &'static str,
        effect: Effect,
        answer: fn() -> Result<Value>,
    ) -> impl Tool + 'static {
        let ledger = self.clone();
        tool_fn(spec(name).effect(effect), move |call: ToolCall, _: Value| {
            ledger.note(name, &call);
            async move { answer() }
        })
    }
}

pub(super) const ONCE: [&str; 2] = ["pay", "reserve"];
pub(super) const TOOLS: [&str; 5] = ["read", "book", "pay", "reserve", "fail"];

/// Adds the agent `journey`, its child `guide`, and their tools.
pub(super) fn stage(island: Island, ledger: &Ledger) -> Island {
    island
        .class(class("journey", journey))
        .class(class("guide", guide))
        .tool(ledger.tool("read", Effect::Pure, || Ok(json!("long ".repeat(4_000)))))
        .tool(ledger.tool("book", Effect::Idempotent, || Ok(json!({"password": "sesame", "seat": 7}))))
        .tool(ledger.tool("pay", Effect::Once, || Ok(json!("paid"))))
        .tool(ledger.tool("reserve", Effect::Compensable, || Ok(json!("reserved"))))
        .tool(ledger.tool("fail", Effect::Idempotent, || Err(Error::failed("sold out"))))
}

/// One of everything.
async fn journey(session: Session, _: Value) -> Result<Value> {
    session.think("setting out");
    let (seed, at) = (session.random().await?, session.now().await?);
    let plan = async || Ok(json!({"stops": 3, "token": "open"}));
    let plan: Value = session.step("plan", Effect::Pure, plan).await?;
    session.emit("planned", &plan)?;
    let read = session.call_tool("read", json!(1)).await?;
    session.think("booking");
    let booked = session.call_tool("book", json!({"token": "mine"})).await?;
    let paid = or_unknown(session.call_tool("pay", json!(3)).await)?;
    let reserved = or_unknown(session.call_tool("reserve", json!(4)).await)?;
    let sold_out = session.call_tool("fail", json!(5)).await.unwrap_err();
    let (one, two, three) = tokio::join!(
        session.call_tool("read", json!(6)),
        session.call_tool("book", json!(7)),
        session.call_tool("read", json!(8)),
    );
    let guided = session.call_agent("guide", json!("north")).await?;
    session.sleep(Duration::from_millis(3)).await?;
    let answer: String = session.ask(Question::new("Home?").choices(["yes", "no"])).await?;
    session.emit("answered", &answer)?;
    session.think("going home");
    let sizes = [read, one?, three?].map(|text| text.as_str().map(str::len));
    Ok(json!({
        "seed": seed, "at": at.as_micros(), "plan": [plan["stops"], plan["token"]], "sizes": sizes,
        "booked": [booked["seat"], booked["password"], two?["password"]], "paid": paid, "reserved": reserved,
        "sold_out": failure(&sold_out), "guided": guided, "answer": answer,
    }))
}

async fn guide(session: Session, input: Value) -> Result<Value> {
    session.think("looking at the map");
    let seat = session.call_tool("book", json!(1)).await?;
    let way: Value = session.step("way", Effect::Pure, async || Ok(json!([input, "east"]))).await?;
    Ok(json!({"way": way, "seat": seat["seat"]}))
}

fn failure(error: &Error) -> Value {
    match error {
        Error::Tool { failure, .. } => json!(failure),
        error => json!(error.to_string()),
    }
}

fn or_unknown(answer: Result<Value>) -> Result<Value> {
    match answer {
        Err(Error::Tool { failure: ToolFailure::Unknown, .. }) => Ok(json!("unknown")),
        answer => answer,
    }
}

/// A run id that every user's journey has: keys and children's ids follow from it.
pub(super) fn journeys_run() -> RunId {
    RunId::new("journey-1").unwrap()
}

/// A class of this name and version.
pub(super) fn versioned<F, Fut>(name: &str, version: &str, run: F) -> AgentClass
where
    F: Fn(Session, Value) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    AgentClass::new(name, version, move || insula_agent::agent_fn(run.clone()))
}
