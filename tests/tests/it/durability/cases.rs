//! The reference set of runs: one agent for each kind of work that must survive a crash, tools that write down what they
//! really did, and an operator who answers and stops what is to be answered and stopped.

use std::{sync::Arc, time::Duration};

use insula_agent::{Effect, Error, Question, Reconciled, Result, Session, Tool, ToolCall, tool_fn};
use insula_context::{Amounts, Ceiling, Clock, RunId, SystemClock, ThreadId, UserExecutionContext, UserScope};
use insula_engine::{AgentThreads, AnswerTo, ExecutionEngineFactory, Limits, Pipeline, RunRequest, Step, Tools};
use insula_infra::{Backend, OpenQuestion, PageRequest, WaitFor};
use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::{Value, json};

use super::book::Book;
use crate::{
    engine::stage::{class, enough, parent, spec},
    support::user,
};

/// How long a lease lasts in these stories. A lost one is over when the store's clock was moved by more.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// How long a pause of these stories lasts.
const PAUSE: Duration = Duration::from_millis(15);

/// One story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) agent: &'static str,
    pub(super) begins: Begins,
    pub(super) parks: Parks,
}

/// How the run is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Submitted,
    /// Its first write creates it.
    Executed,
}

/// What becomes of a run that only waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parks {
    Never,
    AtOnce,
}

/// Every agent of the set whose calls cost nothing.
const AGENTS: [&str; 19] = [
    "plain",
    "reading",
    "booking",
    "paying",
    "signing",
    "reserving",
    "posting",
    "mother",
    "mother-of-asking",
    "mother-of-sleeping",
    "asking",
    "unanswered",
    "sleeping",
    "beside",
    "pipeline",
    "failing",
    "undoing",
    "stopped",
    "stopped-mother",
];

/// Those whose calls are held against a budget.
const BUDGETS: [&str; 2] = ["spending", "overspending"];

/// Those that wait for something: they are told with and without being parked.
const WAITING: [&str; 8] =
    ["mother-of-asking", "mother-of-sleeping", "asking", "unanswered", "sleeping", "beside", "signing", "posting"];

/// All stories.
pub(super) fn cases() -> Vec<Case> {
    let agents = AGENTS.into_iter().chain(BUDGETS);
    let submitted = |agent| Case { agent, begins: Begins::Submitted, parks: Parks::Never };
    let executed = ["plain", "mother", "undoing"].map(|agent| Case { begins: Begins::Executed, ..submitted(agent) });
    let parked = WAITING.map(|agent| Case { parks: Parks::AtOnce, ..submitted(agent) });
    agents.map(submitted).chain(executed).chain(parked).collect()
}

impl Case {
    pub(super) fn name(self) -> String {
        format!("{}-{:?}-{:?}", self.agent, self.begins, self.parks).to_lowercase()
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        cases().into_iter().find(|case| case.name() == name)
    }

    /// A run id that follows from the story: keys and children's ids follow from it.
    pub(super) fn run(self) -> RunId {
        RunId::new(self.agent).unwrap()
    }

    /// An engine that can run it: a process of its own, as it were.
    pub(super) fn engine(self, backend: Backend, book: &Book, threads: AgentThreads) -> ExecutionEngineFactory {
        self.engine_with(backend, book, threads, Arc::new(SystemClock::new()))
    }

    /// As [`Case::engine`], of a process whose clock is this one.
    pub(super) fn engine_with(
        self,
        backend: Backend,
        book: &Book,
        threads: AgentThreads,
        clock: Arc<dyn Clock>,
    ) -> ExecutionEngineFactory {
        let registry = classes(book).into_iter().fold(AgentClassRegistry::builder(), |all, class| all.register(class));
        let park_after = if self.parks == Parks::AtOnce { Duration::ZERO } else { Duration::from_secs(3_600) };
        let limits = Limits { lease: LEASE, park_after, grace: Duration::from_secs(5), ..Limits::default() };
        ExecutionEngineFactory::builder(registry.freeze().unwrap(), backend)
            .tools(tools(book))
            .limits(limits)
            .agent_threads(threads)
            .clock(clock)
            .build()
    }

    /// Asks for the run, unless it is there already, and does what a human has to do until it has ended.
    pub(super) async fn tell(self, factory: &ExecutionEngineFactory, book: &Book) {
        let (ada, run) = (user("ada"), self.run());
        factory.work();
        let is_new = factory.backend().runs.run(&ada, &run).await.unwrap().is_none();
        let operating = operate(factory, &ada, &run, book);
        let thread = ThreadId::new("thread").unwrap();
        match self.begins {
            Begins::Submitted if is_new => {
                let request = RunRequest::new(self.agent, json!(7)).run(run.clone()).thread(thread);
                let submitting = async { factory.submit(&ada, request).await.unwrap() };
                let _both = tokio::join!(submitting, operating);
            }
            Begins::Executed if is_new => {
                let context = UserExecutionContext::builder(ada.clone(), thread, run.clone()).build().unwrap();
                let engine = factory.create_for_user(&context).unwrap();
                let executing = async { engine.execute_agent(&context, self.agent, json!(7)).await.unwrap() };
                let _both = tokio::join!(executing, operating);
            }
            _ => operating.await,
        }
    }
}

/// Answers and stops, until the run and all its children have ended.
async fn operate(factory: &ExecutionEngineFactory, scope: &UserScope, run: &RunId, book: &Book) {
    while !is_over(factory, scope, run).await {
        for open in factory.inbox(scope, None, &PageRequest::default()).await.unwrap().items {
            answer(factory, scope, &open, book).await;
        }
        let notes = book.notes();
        // Whoever was told once that it will be stopped does not ask again.
        if notes.iter().any(|(what, _)| what == "hang") && !notes.iter().any(|(what, _)| what == "stopped") {
            factory.cancel(scope, run, enough()).await.unwrap();
            book.note("stopped", run.as_str());
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

async fn is_over(factory: &ExecutionEngineFactory, scope: &UserScope, run: &RunId) -> bool {
    let record = factory.backend().runs.run(scope, run).await.unwrap();
    if record.is_none_or(|record| !record.status.is_terminal()) {
        return false;
    }
    let runs = crate::support::log::runs_of(factory.backend(), scope).await;
    runs.iter().all(|run| run.status.is_terminal())
}

async fn answer(factory: &ExecutionEngineFactory, scope: &UserScope, open: &OpenQuestion, book: &Book) {
    let (run, index) = (&open.header.run, open.question.index);
    let answer = match open.question.kind {
        WaitFor::Reconcile if book.has_under(&format!("{run}/{index}/")) => {
            json!({"happened": true, "result": "done"})
        }
        WaitFor::Reconcile => json!({"happened": false}),
        _ if open.question.question.get().contains("nobody answers") => return,
        _ => json!("yes"),
    };
    let _known = factory.answer(scope, run, AnswerTo::question(index, answer).by("an operator")).await.unwrap();
}

fn tools(book: &Book) -> Tools {
    let pay = known(noted(book, "pay", Effect::Once), book, "pay");
    let reserve = known(noted(book, "reserve", Effect::Compensable), book, "reserve");
    let again = book.clone();
    let reserve = reserve.undone_by(move |call: ToolCall, _, result: Value| {
        assert_eq!(result, json!("done"));
        again.note("undo", call.key());
        async { Ok(()) }
    });
    let hanging = book.clone();
    let hang = tool_fn(spec("hang").effect(Effect::Idempotent), move |call: ToolCall, _: Value| {
        hanging.note("hang", call.key());
        std::future::pending::<Result<Value>>()
    });
    let thinking = book.clone();
    let think = spec("think").effect(Effect::Idempotent).cost(Amounts::tokens(30));
    let think = tool_fn(think, move |call: ToolCall, _: Value| {
        thinking.note("think", call.key());
        call.spent(Amounts::tokens(30));
        async { Ok(json!("done")) }
    });
    Tools::new()
        .with(think)
        .with(noted(book, "read", Effect::Pure))
        .with(noted(book, "book", Effect::Idempotent))
        .with(noted(book, "sign", Effect::Once))
        .with(pay)
        .with(reserve)
        .with(hang)
}

/// A tool that does nothing but write down that it did.
fn noted(book: &Book, name: &'static str, effect: Effect) -> impl Tool + 'static {
    let book = book.clone();
    tool_fn(spec(name).effect(effect), move |call: ToolCall, _: Value| {
        book.note(name, call.key());
        async { Ok(json!("done")) }
    })
}

/// The same tool, which looks up whether an interrupted call was made.
fn known(tool: impl Tool + 'static, book: &Book, name: &'static str) -> impl Tool + 'static {
    let book = book.clone();
    tool.reconciled_by(move |call: ToolCall, _| {
        let done = book.has(name, call.key());
        async move { Ok(if done { Reconciled::Happened(json!("done")) } else { Reconciled::DidNotHappen }) }
    })
}

fn classes(book: &Book) -> Vec<AgentClass> {
    let pipeline = Pipeline::builder("pipeline").step(Step::agent("one", "child")).step(Step::agent("two", "sleeping"));
    let pipeline = pipeline.step(Step::agent("three", "child")).build().unwrap();
    let book = book.clone();
    let posting = class("posting", move |session, _| posting(session, book.clone()));
    let calling = |name, tool| class(name, move |session, input| calling(session, tool, input));
    vec![
        class("plain", plain),
        calling("reading", "read"),
        calling("booking", "book"),
        calling("paying", "pay"),
        calling("signing", "sign"),
        calling("reserving", "reserve"),
        posting,
        calling("child", "book"),
        class("mother", mother),
        parent("mother-of-asking", "asking"),
        parent("mother-of-sleeping", "sleeping"),
        class("asking", asking),
        class("unanswered", unanswered),
        class("sleeping", sleeping),
        class("beside", beside),
        AgentClass::new("pipeline", "1", move || pipeline.clone()),
        class("failing", failing),
        class("undoing", undoing),
        class("stopped", stopped),
        class("spending", spending).budget(Ceiling::tokens(100)),
        class("overspending", spending).budget(Ceiling::tokens(50)),
        parent("stopped-mother", "stopped"),
    ]
}

async fn plain(session: Session, input: Value) -> Result<Value> {
    session.think("beginning");
    let (seed, at) = (session.random().await?, session.now().await?.as_micros());
    let plan: Value = session.step("plan", Effect::Pure, async || Ok(json!({"of": input, "token": "open"}))).await?;
    session.emit("planned", &plan)?;
    let large: String = session.step("large", Effect::Idempotent, async || Ok("long ".repeat(4_000))).await?;
    session.think("ending");
    Ok(json!({"seed": seed, "at": at, "plan": plan["token"], "large": large.len()}))
}

async fn calling(session: Session, tool: &'static str, input: Value) -> Result<Value> {
    let before: Value = session.step("before", Effect::Pure, async || Ok(input)).await?;
    let done = session.call_tool(tool, &before).await?;
    session.think("done");
    let after: Value = session.step("after", Effect::Idempotent, async || Ok(json!([before, done]))).await?;
    Ok(after)
}

async fn posting(session: Session, book: Book) -> Result<Value> {
    let key = format!("{}/1/post", session.context().run());
    let before: Value = session.step("before", Effect::Pure, async || Ok(json!(1))).await?;
    let post = async || {
        book.note("post", &key);
        Ok(json!("done"))
    };
    let posted: Value = session.step("post", Effect::Once, post).await?;
    Ok(json!([before, posted]))
}

async fn mother(session: Session, input: Value) -> Result<Value> {
    let one = session.call_agent("child", &input).await?;
    session.emit("one", &one)?;
    let two = session.call_agent("child", &one).await?;
    let sum: Value = session.step("sum", Effect::Idempotent, async || Ok(json!([one, two]))).await?;
    Ok(sum)
}

async fn asking(session: Session, _: Value) -> Result<Value> {
    let answer: Value = session.ask(Question::new("Home?").choices(["yes", "no"])).await?;
    let booked = session.call_tool("book", &answer).await?;
    let again: Value = session.ask(Question::new("Sure?")).await?;
    Ok(json!([answer, booked, again]))
}

async fn unanswered(session: Session, _: Value) -> Result<Value> {
    let question = || Question::new("nobody answers").expires(PAUSE);
    let default: Value = session.ask(question().or_else("default")).await?;
    let failed = session.ask::<Value>(question()).await.unwrap_err();
    Ok(json!([default, failed.to_string()]))
}

async fn sleeping(session: Session, input: Value) -> Result<Value> {
    session.sleep(PAUSE).await?;
    let booked = session.call_tool("book", &input).await?;
    session.sleep(PAUSE).await?;
    Ok(json!([input, booked]))
}

async fn beside(session: Session, _: Value) -> Result<Value> {
    let (one, two, three, ()) = tokio::try_join!(
        session.ask::<Value>(Question::new("one?")),
        session.call_tool("book", 2),
        session.ask::<Value>(Question::new("three?")),
        session.sleep(PAUSE),
    )?;
    Ok(json!([one, two, three]))
}

async fn failing(session: Session, input: Value) -> Result<Value> {
    session.call_tool("book", &input).await?;
    Err(Error::failed("sold out"))
}

async fn undoing(session: Session, _: Value) -> Result<Value> {
    session.call_tool("reserve", json!({"password": "sesame"})).await?;
    session.call_tool("book", 2).await?;
    session.call_tool("reserve", 3).await?;
    Err(Error::failed("sold out"))
}

/// Spends 90 tokens, if it may.
async fn spending(session: Session, _: Value) -> Result<Value> {
    session.call_tool("think", 1).await?;
    session.call_tool("think", 2).await?;
    session.call_tool("think", 3).await
}

async fn stopped(session: Session, _: Value) -> Result<Value> {
    session.call_tool("reserve", 1).await?;
    session.call_tool("hang", 2).await
}
