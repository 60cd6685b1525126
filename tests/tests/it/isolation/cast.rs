//! The people of the search, and what each of them does to plant a secret and to pry.

use futures::future::join_all;
use insula_agent::{Effect, Error, ToolSpec, agent_fn, tool_fn};
use insula_context::{IdSource, RandomIds, RunId, ThreadId, UserExecutionContext, UserScope};
use insula_engine::{RunRequest, UserExecutionEngine};
use insula_registry::AgentClass;
use serde_json::{Value, json};

use super::secrets::others;
use crate::support::{Island, user_of};

/// A user, the user's secret, and the thread and run in which it was planted first.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) scope: UserScope,
    pub(super) secret: String,
    pub(super) thread: ThreadId,
    pub(super) run: RunId,
}

/// Two users of one tenant, and a namesake of the first in another.
pub(super) fn cast(island: &Island) -> Vec<Person> {
    let scopes = [user_of("acme", "ada"), user_of("acme", "bob"), user_of("globex", "ada")];
    let person = |scope: UserScope| {
        island.knows(&scope);
        let secret = format!("canary-{}", RandomIds.next_id().simple());
        Person { scope, secret, thread: ThreadId::generate(&RandomIds), run: RunId::generate(&RandomIds) }
    };
    scopes.map(person).into()
}

/// Adds agents that say what they are given in every way an agent has, and a tool that repeats it.
pub(super) fn with_the_cast(island: Island) -> Island {
    let parrot = AgentClass::new("parrot", "1", || {
        agent_fn(|session, input| async move {
            session.think(input.to_string());
            session.emit("parrot", &input)?;
            session.step("parrot", Effect::Pure, async || Ok(input.clone())).await?;
            let long = vec![input.clone(); 1_000];
            let repeated = session.call_tool("repeat", json!({"text": long})).await?;
            session.call_agent("echo", &input).await?;
            Ok(repeated)
        })
    });
    let wail =
        AgentClass::new("wail", "1", || agent_fn(|_, input| async move { Err(Error::failed(input.to_string())) }));
    let burst = AgentClass::new("burst", "1", || agent_fn(|_, input| async move { panic!("{input}") }));
    let repeat = ToolSpec::new::<Repeat>("repeat").effect(Effect::Idempotent);
    let repeat = tool_fn(repeat, |_, Repeat { text }| async move { Ok(text) });
    island.class(parrot).class(wail).class(burst).tool(repeat)
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Repeat {
    text: Value,
}

impl Person {
    pub(super) fn context(&self) -> UserExecutionContext {
        let builder = UserExecutionContext::builder(self.scope.clone(), self.thread.clone(), self.run.clone());
        builder.data("mine", self.secret.clone()).build().unwrap()
    }

    /// Plants the secret wherever an agent can put one: state, cache, rows, events, payloads, errors, panics, the
    /// queue.
    pub(super) async fn live(&self, island: &Island) {
        let context = self.context();
        let engine = island.engine(&context);
        let plant = json!({"plant": self.secret, "victims": []});
        engine.execute_agent(&context, "leaky", plant).await.unwrap();
        for class in ["parrot", "wail", "burst"] {
            engine.execute_agent(&context.next_run(), class, json!(self.secret)).await.unwrap();
        }
        let request = RunRequest::new("parrot", json!(self.secret)).thread(self.thread.clone());
        let queued = island.factory().submit(&self.scope, request).await.unwrap();
        island.factory().wait(&self.scope, &queued).await.unwrap().unwrap();
    }

    /// Looks for the others' secrets with everything that a user has. What it was told, as (place, words).
    pub(super) async fn pry(&self, island: &Island, people: &[Self]) -> Vec<(&'static str, String)> {
        let context = self.context().next_run();
        let engine = island.engine(&context);
        let victims: Vec<Value> = others(self, people).map(Self::as_victim).collect();
        let input = json!({"plant": self.secret, "victims": victims});
        let outcome = engine.execute_agent(&context, "leaky", input).await.unwrap();
        let mut said = vec![("result", format!("{:?}", outcome.end))];
        let echo = engine.execute_agent(&context.next_run(), "echo", json!(self.secret)).await.unwrap();
        said.push(("result", format!("{:?}", echo.end)));
        let wail = engine.execute_agent(&context.next_run(), "wail", json!(self.secret)).await.unwrap();
        said.push(("error", format!("{:?}", wail.end)));
        for heard in join_all(others(self, people).map(|victim| pry_by_id(&engine, island, victim))).await {
            said.extend(heard);
        }
        said.push(("history", format!("{:?} {:?} {engine:?}", engine.history(), engine.refusals())));
        said
    }

    fn as_victim(&self) -> Value {
        let Self { scope, thread, run, .. } = self;
        json!({"tenant": scope.tenant(), "user": scope.user(), "thread": thread, "run": run})
    }
}

/// Uses the victim's own ids through this user's handles. An answer that is not "there is none" is told as a leak.
async fn pry_by_id(engine: &UserExecutionEngine, island: &Island, victim: &Person) -> Vec<(&'static str, String)> {
    let (mine, factory) = (engine.context().scope(), island.factory());
    let mut said = Vec::new();
    let mut tell = |place, found: Option<String>| {
        said.extend(found.map(|found| (place, format!("{found} of {}", victim.secret))));
    };
    let stop = || insula_context::CancelReason::new("thief", "for fun");
    let events = factory.events(mine, &victim.thread, 0).ready().await.unwrap();
    tell("thread", (!events.is_empty()).then(|| format!("{events:?}")));
    tell("run events", engine.run_events(&victim.run, 0).await.unwrap().map(|found| format!("{found:?}")));
    tell("wait", factory.wait(mine, &victim.run).await.unwrap().map(|found| format!("{found:?}")));
    tell(
        "cancel",
        Some(engine.cancel(&victim.run, stop()).await.unwrap())
            .filter(|found| *found != insula_infra::CancelRequest::Ahead)
            .map(|found| format!("{found:?}")),
    );
    let answered = factory.answer(mine, &victim.run, insula_engine::AnswerTo::question(0, 1)).await.unwrap();
    tell("answer", answered.map(|answered| format!("{answered:?}")));
    let theirs = victim.context().next_run();
    let refused = engine.execute_agent(&theirs, "parrot", json!(1)).await;
    tell("foreign context", refused.as_ref().ok().map(|ran| format!("{ran:?}")));
    said.extend(refused.err().map(|refused| ("error", format!("{refused} {refused:?}"))));
    let refused = engine.create_agent_instance(&theirs, "parrot");
    said.extend(refused.err().map(|refused| ("error", format!("{refused} {refused:?}"))));
    said
}
