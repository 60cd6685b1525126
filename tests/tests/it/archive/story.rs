//! A run with something of everything, and a ledger of what was really done.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use insula_agent::{Effect, Error, Question, Result, Session, Tool, ToolCall, tool_fn};
use insula_context::{RunId, ThreadId, UserScope};
use insula_engine::{Archive, ExecutionEngineFactory, Part};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use crate::{
    engine::stage::{class, spec},
    support::{Island, context},
};

/// What must never be in a file that readers may have.
pub(super) const SECRET: &str = "sesame-street-17";

/// Which tools were called. A clone is the same ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<String>>>);

impl Ledger {
    fn tool(&self, name: &'static str, effect: Effect, answer: fn() -> Result<Value>) -> impl Tool + 'static {
        let ledger = self.clone();
        tool_fn(spec(name).effect(effect), move |_: ToolCall, _: Value| {
            ledger.0.lock().unwrap().push(name.to_owned());
            async move { answer() }
        })
    }

    pub(super) fn calls(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Adds the agent `trip`, its children and their tools.
pub(super) fn stage(island: Island, ledger: &Ledger) -> Island {
    island
        .class(trip())
        .class(class("guide", guide))
        .class(class("lost", |_, _| async { Err(Error::failed("no map")) }))
        .tool(ledger.tool("read", Effect::Pure, || Ok(json!("long ".repeat(4_000)))))
        .tool(ledger.tool("book", Effect::Idempotent, || Ok(json!({"password": SECRET, "seat": 7}))))
        .tool(ledger.tool("pay", Effect::Once, || Ok(json!("paid"))))
        .tool(ledger.tool("reserve", Effect::Compensable, || Ok(json!("reserved"))))
        .tool(ledger.tool("fail", Effect::Idempotent, || Err(Error::failed("sold out"))))
}

/// Does one of everything.
pub(super) fn trip() -> AgentClass {
    class("trip", |session, input| async move { travel(&session, &input, "setting out", 1).await })
}

/// The trip with other first words, and another argument of its first tool.
pub(super) async fn travel(session: &Session, input: &Value, words: &str, page: u32) -> Result<Value> {
    session.think(words);
    let (seed, at) = (session.random().await?, session.now().await?);
    let plan: Value = session.step("plan", Effect::Pure, async || Ok(json!({"stops": 3, "token": SECRET}))).await?;
    let failed = session.step("guess", Effect::Pure, async || Err::<u8, _>(Error::failed("no idea"))).await;
    session.emit("planned", json!({"plan": plan, "large": "x".repeat(20_000)}))?;
    let read = session.call_tool("read", json!(page)).await?;
    let booked = session.call_tool("book", json!({"token": SECRET})).await?;
    let paid = session.call_tool("pay", json!(3)).await?;
    let reserved = session.call_tool("reserve", json!(4)).await?;
    let sold_out = session.call_tool("fail", json!(5)).await.unwrap_err().to_string();
    let absent = session.call_tool("fly", json!(6)).await.unwrap_err().to_string();
    let (one, two) = tokio::join!(session.call_tool("read", json!(7)), session.call_tool("read", json!(8)));
    let guided = session.call_agent("guide", json!("north")).await?;
    let lost = session.call_agent("lost", json!("south")).await.unwrap_err().to_string();
    session.sleep(Duration::from_millis(2)).await?;
    let question = Question::new("Home?").expires(Duration::from_millis(2)).or_else("no");
    let answer: String = session.ask(question).await?;
    session.think("going home");
    let sizes = [read, one?, two?].map(|text| text.as_str().map(str::len));
    Ok(json!({
        "seed": seed, "at": at.as_micros(), "stops": plan["stops"], "sizes": sizes, "password": booked["password"],
        "paid": paid, "reserved": reserved, "failed": [failed.unwrap_err().to_string(), sold_out, absent, lost],
        "guided": guided, "answer": answer, "marker": session.marker(), "for": input["who"],
    }))
}

async fn guide(session: Session, input: Value) -> Result<Value> {
    session.think("looking at the map");
    let seat = session.call_tool("book", json!(1)).await?;
    Ok(json!({"way": input, "seat": seat["seat"]}))
}

/// What the trip is given: something secret, and something large.
pub(super) fn luggage() -> Value {
    json!({"who": "ada", "api_key": SECRET, "notes": "note ".repeat(5_000)})
}

/// Runs an agent to its end. Says in which thread, and as which run.
pub(super) async fn ran(island: &Island, scope: &UserScope, class: &str, input: Value) -> (ThreadId, RunId) {
    let context = context(scope);
    island.engine(&context).execute_agent(&context, class, input).await.unwrap();
    (context.thread().clone(), context.run().clone())
}

/// The lines of a run's file.
pub(super) async fn exported(
    factory: &ExecutionEngineFactory,
    scope: &UserScope,
    run: &RunId,
    part: Part,
) -> Vec<String> {
    let mut export = factory.export(scope, run, part).await.unwrap().expect("the run is there");
    let mut lines = Vec::new();
    while let Some(line) = export.next_line().await.unwrap() {
        lines.push(line);
    }
    lines
}

pub(super) fn read(lines: &[String]) -> Result<Archive, insula_engine::Error> {
    Archive::read(lines.join("\n").as_bytes())
}
