//! One class of agents that does what a plan says, and the tools that it does it with.

use std::{sync::Arc, time::Duration};

use insula_agent::{
    Effect, Error, Question, Reconciled, Result, Session, Space, Tool, ToolCall, ToolFailure, ToolSpec, agent_fn,
    tool_fn,
};
use insula_context::{RunId, UserScope};
use insula_engine::Tools;
use insula_registry::{AgentClass, AgentClassRegistry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    ledger::Place,
    link::Link,
    mutants::Mutant,
    plan::{Asked, Op, Plan},
    world::lock,
};

/// The name of the class.
pub const ACTOR: &str = "actor";
/// What an agent says when its plan says that it fails.
pub const PLANNED: &str = "it was planned";
/// The text of a question that somebody answers.
pub const ANSWER_ME: &str = "answer me";
/// The counter that `Op::Count` raises.
pub const COUNTER: &str = "counter";

/// The classes of one node.
///
/// # Errors
/// When they do not fit together, which they do.
pub fn classes(link: &Arc<Link>) -> anyhow::Result<AgentClassRegistry> {
    let link = Arc::clone(link);
    let class = AgentClass::new(ACTOR, "1", move || {
        let link = Arc::clone(&link);
        agent_fn(move |session: Session, input: Value| {
            let link = Arc::clone(&link);
            async move {
                let plan: Plan = serde_json::from_value(input).map_err(|e| Error::failed(e.to_string()))?;
                Actor { session, link }.act(plan).await
            }
        })
    });
    Ok(AgentClassRegistry::builder().register(class).freeze()?)
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Task {
    place: String,
    fails: bool,
    millis: u64,
}

/// The tools of one node, one for each effect.
pub fn tools(node: &Arc<Link>, mutant: Option<Mutant>) -> Tools {
    let effects = [Effect::Pure, Effect::Idempotent, Effect::Once, Effect::Compensable];
    effects.into_iter().fold(Tools::new(), |tools, effect| {
        let link = Arc::clone(node);
        let spec = ToolSpec::new::<Task>(tool_name(effect)).effect(Mutant::effect(mutant, effect));
        let works = tool_fn(spec, move |call: ToolCall, task: Task| work(Arc::clone(&link), call, task, effect));
        let (asked, undoing) = (Arc::clone(node), Arc::clone(node));
        let knows = works.reconciled_by(move |call, task| reconcile(Arc::clone(&asked), call, task));
        tools.with(knows.undone_by(move |call, task, _| undo(Arc::clone(&undoing), call, task)))
    })
}

async fn work(link: Arc<Link>, call: ToolCall, task: Task, effect: Effect) -> Result<&'static str> {
    let (scope, run) = (call.context().scope(), call.context().run());
    link.alive().await;
    link.check_not_recorded(scope, run, call.id());
    // What fails has no effect.
    let effect = if task.fails { Effect::Pure } else { effect };
    let work = Work { link, place: place(scope, run, &task.place), effect };
    work.carry_out(call.key(), task.millis).await;
    if task.fails { Err(Error::failed(PLANNED)) } else { Ok("done") }
}

/// A tool that finds out by itself, now and then, whether it was called.
async fn reconcile(link: Arc<Link>, call: ToolCall, task: Value) -> Result<Reconciled> {
    link.alive().await;
    let task: Task = serde_json::from_value(task).map_err(|e| Error::failed(e.to_string()))?;
    let place = place(call.context().scope(), call.context().run(), &task.place);
    let mut ledger = lock(&link.world.ledger);
    if link.world.rng.chance(500) && !task.fails {
        ledger.doubt(&place);
        return Ok(Reconciled::Unknown);
    }
    let begun = ledger.at(&place).begun;
    Ok(if begun > 0 && !task.fails { Reconciled::Happened(json!("done")) } else { Reconciled::DidNotHappen })
}

async fn undo(link: Arc<Link>, call: ToolCall, task: Value) -> Result<()> {
    link.alive().await;
    let task: Task = serde_json::from_value(task).map_err(|e| Error::failed(e.to_string()))?;
    let place = place(call.context().scope(), call.context().run(), &task.place);
    link.note("undo", &format!("{place:?}"));
    lock(&link.world.ledger).undo(&place);
    Ok(())
}

const fn tool_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Pure => "pure",
        Effect::Idempotent => "idempotent",
        Effect::Once => "once",
        Effect::Compensable => "compensable",
    }
}

/// Where a run does something.
pub fn place(scope: &UserScope, run: &RunId, place: &str) -> Place {
    (scope.user().to_string(), run.to_string(), place.to_owned())
}

/// Real work, as far as anybody outside can tell.
struct Work {
    link: Arc<Link>,
    place: Place,
    effect: Effect,
}

impl Work {
    async fn carry_out(&self, key: &str, millis: u64) {
        let world = &self.link.world;
        let broken = lock(&world.ledger).begin(&self.place, self.effect, key);
        world.check("effects are kept", broken);
        world.note(self.link.worker.as_str(), "work", &format!("{:?} {:?}", self.effect, self.place));
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.link.alive().await;
        }
        lock(&world.ledger).end(&self.place);
    }
}

struct Actor {
    session: Session,
    link: Arc<Link>,
}

impl Actor {
    async fn act(&self, plan: Plan) -> Result<Value> {
        let mut results = Vec::with_capacity(plan.ops.len());
        for (at, op) in plan.ops.iter().enumerate() {
            self.link.alive().await;
            results.push(match op {
                Op::Pair(one, two) => {
                    let (one_at, two_at) = (format!("{at}a"), format!("{at}b"));
                    let (one, two) = tokio::join!(self.single(one, &one_at), self.single(two, &two_at));
                    json!([one?, two?])
                }
                op => self.single(op, &at.to_string()).await?,
            });
        }
        Ok(Value::from(results))
    }

    async fn single(&self, op: &Op, at: &str) -> Result<Value> {
        let session = &self.session;
        match op {
            Op::Step(effect) => session.step(&format!("step {at}"), *effect, || self.step(*effect, at)).await,
            Op::Tool { effect, fails, millis } => {
                let task = Task { place: at.to_owned(), fails: *fails, millis: *millis };
                of_tool(session.call_tool(tool_name(*effect), task).await)
            }
            Op::Child(plan) => of_child(session.call_agent(ACTOR, plan).await),
            Op::Sleep(millis) => {
                session.sleep(Duration::from_millis(*millis)).await?;
                Ok(json!("slept"))
            }
            Op::Ask(asked) => of_question(session.ask(question(*asked)).await),
            Op::Random => Ok(json!({"told": session.random().await?})),
            Op::Now => Ok(json!({"told": session.now().await?.as_micros()})),
            Op::Count => session.step("count", Effect::Idempotent, || self.count()).await,
            Op::Pair(..) | Op::Fail => Err(Error::failed(PLANNED)),
            Op::Panic => panic!("{PLANNED}"),
        }
    }

    fn place(&self, at: &str) -> Place {
        let context = self.session.context();
        place(context.scope(), context.run(), at)
    }

    async fn step(&self, effect: Effect, at: &str) -> Result<Value> {
        let place = self.place(at);
        let key = format!("step/{}/{at}", place.1);
        Work { link: Arc::clone(&self.link), place, effect }.carry_out(&key, 0).await;
        Ok(json!("step"))
    }

    /// Tries again as long as the store does not answer.
    async fn count(&self) -> Result<Value> {
        loop {
            let raised = self.session.state(Space::User).update(COUNTER, |n: Option<u64>| n.unwrap_or(0) + 1).await;
            match raised {
                Ok(_) => return Ok(json!("counted")),
                Err(error) if error.is_transient() => tokio::time::sleep(Duration::from_millis(200)).await,
                Err(error) => return Err(error),
            }
        }
    }
}

fn question(asked: Asked) -> Question {
    let question = Question::new(if asked.answered { ANSWER_ME } else { "anybody?" }).choices(["yes", "no"]);
    let question = if asked.default { question.or_else("no") } else { question };
    match asked.expires {
        Some(millis) => question.expires(Duration::from_millis(millis)),
        None => question,
    }
}

fn of_tool(result: Result<Value>) -> Result<Value> {
    match result {
        Err(Error::Tool { failure: ToolFailure::Failed { .. }, .. }) => Ok(json!("failed")),
        result => result,
    }
}

fn of_child(result: Result<Value>) -> Result<Value> {
    match result {
        Ok(result) => Ok(json!({"child": result})),
        Err(Error::Child { reason, .. }) if reason == "error" || reason == "panic" => Ok(json!({"child": reason})),
        Err(error) => Err(error),
    }
}

fn of_question(result: Result<String>) -> Result<Value> {
    match result {
        Ok(answer) => Ok(json!(answer)),
        Err(Error::Failed { message, .. }) if message.contains("expired") => Ok(json!("expired")),
        Err(error) => Err(error),
    }
}
