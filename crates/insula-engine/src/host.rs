//! The engine's side of a session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_agent::{CallSite, Effect, Error, InstanceMarker, Question, Resources, Result, SessionHost};
use insula_context::{Amounts, RunId, Timestamp, UserExecutionContext};
use insula_infra::{EventType, PayloadHash, WaitFor};
use serde_json::Value;

use crate::{
    core::RunCore,
    dispatcher, driver,
    events::{self, CallKind, Custom, Ended, Resumed, StepCompleted, Thinking, Waiting, Why},
    machine::{Happened, Phase},
    outcome::End,
    redact,
    replay::Past,
    resume,
};

/// What a run's session stands on.
pub(crate) struct RunHost {
    run: Arc<RunCore>,
    resources: Arc<dyn Resources>,
    marker: InstanceMarker,
    calls: AtomicU32,
}

impl RunHost {
    pub(crate) fn new(run: Arc<RunCore>, resources: Arc<dyn Resources>, marker: InstanceMarker) -> Self {
        Self { run, resources, marker, calls: AtomicU32::new(0) }
    }

    /// Refuses what comes after the end: an agent that could not be stopped may still hold its session.
    fn going_on(&self) -> Result<()> {
        match self.run.context.cancellation().reason() {
            Some(reason) => Err(Error::Stopped { why: reason.to_string() }),
            None => Ok(()),
        }
    }

    /// What this call gave before the worker was lost; `None` when it is to be done now.
    fn recorded(&self, site: &CallSite, kind: CallKind) -> Result<Option<Value>> {
        self.going_on()?;
        match self.run.history.take(site, kind)? {
            Some(Past::Gave(result)) => Ok(Some(result)),
            _ => Ok(None),
        }
    }

    fn record(&self, site: &CallSite, kind: CallKind, result: &Value) -> Result<()> {
        self.record_cost(site, kind, result, None)
    }

    fn record_cost(&self, site: &CallSite, kind: CallKind, result: &Value, spent: Option<Amounts>) -> Result<()> {
        let shown = events::show("the result", result).map_err(|e| Error::failed(e.to_string()))?;
        let said = StepCompleted { index: site.index, name: &site.name, kind, result: &shown.shown, spent };
        let mut event = events::event(EventType::StepCompleted, self.run.platform.clock.now(), &said);
        event.journal = shown.whole;
        self.run.journal.add(event, shown.payload, |_| {});
        self.run.step_recorded();
        self.run.history.ended(site.index);
        Ok(())
    }

    /// What is to be waited for: a wait that was interrupted is the same one, until the same time.
    fn wait(&self, site: &CallSite, kind: CallKind, duration: Option<Duration>) -> Result<Wait> {
        self.going_on()?;
        let now = self.run.platform.clock.now();
        let left = |until: Option<Timestamp>| until.map(|until| until.since(now));
        Ok(match self.run.history.take(site, kind)? {
            Some(Past::Gave(result)) => Wait::Recorded(result),
            Some(Past::GivenUp) => Wait::Never,
            Some(Past::Waited(why)) => Wait::Over(why),
            Some(Past::Waiting { until }) => Wait::Again { left: left(until) },
            _ => Wait::New { until: duration.map(|duration| now.plus(duration)), left: duration },
        })
    }

    /// Says that the run waits, waits, and says why it goes on.
    async fn waiting<T>(
        &self,
        index: u32,
        reason: WaitFor,
        said: Option<Waiting<'_>>,
        wait: impl Future<Output = (T, Why)>,
    ) -> T {
        self.run.step(Happened::Parked(reason));
        if let Some(said) = said {
            self.run.journal.say(EventType::AgentWaiting, &said);
        }
        let mut pause = Pause { run: &self.run, index, why: Why::GivenUp };
        let (answer, why) = wait.await;
        pause.why = why;
        answer
    }

    /// Waits for the answer, `None` when it did not come in time.
    async fn answer(&self, site: &CallSite, question: &Question, left: Option<Duration>) -> (Answer, Why) {
        let (scope, run) = (self.run.context.scope(), self.run.context.run());
        let answer = self.run.platform.live.ask(scope, run, site.index);
        let answer = match left {
            Some(left) => tokio::time::timeout(left, answer).await.ok(),
            None => Some(answer.await),
        };
        match answer {
            Some(Ok(answer)) if question.refuses(&answer).is_some() => (Answer::Refused(answer), Why::Refused),
            Some(Ok(answer)) => (Answer::Given(answer), Why::Answered),
            Some(Err(_)) => (Answer::Impossible, Why::Answered),
            None => (Answer::Late, Why::Expired),
        }
    }

    /// The id of a child: the same whenever the same call of the same run is made.
    fn child_id(&self, site: &CallSite) -> Result<RunId> {
        let hash = PayloadHash::of(format!("{}/{}", self.run.context.run(), site.index).as_bytes()).to_string();
        RunId::new(&hash[..32]).map_err(|e| Error::failed(e.to_string()))
    }
}

/// How a call waits.
enum Wait {
    /// It has waited before, with this result.
    Recorded(Value),
    /// It was given up before, and will be again.
    Never,
    /// It has waited before, and only its result is missing.
    Over(Why),
    /// It was interrupted.
    Again {
        left: Option<Duration>,
    },
    New {
        until: Option<Timestamp>,
        left: Option<Duration>,
    },
}

/// What came of a question.
enum Answer {
    Given(Value),
    Refused(Value),
    Late,
    /// Nobody can answer any more.
    Impossible,
}

/// Says that the run goes on, also when the agent gave up waiting. After the run's end it says nothing.
struct Pause<'a> {
    run: &'a RunCore,
    index: u32,
    why: Why,
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.run.step(Happened::Woken);
        if !matches!(self.run.phase(), Phase::Ended(_)) {
            let said = Resumed { why: self.why };
            let mut event = events::event(EventType::AgentResumed, self.run.platform.clock.now(), &said);
            event.journal = events::raw("the wait", &Ended { index: self.index }).ok();
            self.run.journal.add(event, None, |_| {});
        }
    }
}

#[async_trait]
impl SessionHost for RunHost {
    fn resources(&self) -> Arc<dyn Resources> {
        Arc::clone(&self.resources)
    }

    fn context(&self) -> &UserExecutionContext {
        &self.run.context
    }

    fn marker(&self) -> InstanceMarker {
        self.marker
    }

    fn replaying(&self) -> bool {
        self.run.history.is_replaying()
    }

    fn next_call(&self, name: &str) -> CallSite {
        CallSite { index: self.calls.fetch_add(1, Ordering::Relaxed), name: name.to_owned() }
    }

    fn think(&self, text: &str) {
        let step = self.run.next_thought();
        if !self.run.history.knows_thought(step) {
            self.run.journal.say(EventType::AgentThinking, &Thinking { text, step });
        }
    }

    fn emit(&self, name: &str, data: &Value) {
        if self.run.history.knows_custom() {
            return;
        }
        // A JSON value always has a JSON form.
        let Ok(shown) = events::show("the data", data) else { return };
        let said = Custom { name, data: &shown.shown };
        let event = events::event(EventType::Custom, self.run.platform.clock.now(), &said);
        self.run.journal.add(event, shown.payload, |_| {});
    }

    async fn begin_step(&self, site: &CallSite, effect: Effect) -> Result<Option<Value>> {
        if let Some(recorded) = self.recorded(site, CallKind::Step)? {
            return Ok(Some(recorded));
        }
        if matches!(effect, Effect::Once | Effect::Compensable) && self.run.history.may_repeat() {
            let step = &site.name;
            let message = format!("the step \"{step}\" may have been interrupted, and must not be done twice");
            return Err(Error::failed(message));
        }
        if effect != Effect::Pure {
            self.run.durable().await?;
        }
        Ok(None)
    }

    async fn end_step(&self, site: &CallSite, result: &Value) -> Result<()> {
        self.record(site, CallKind::Step, result)
    }

    async fn call_tool(&self, site: CallSite, arguments: Value) -> Result<Value> {
        dispatcher::call(&self.run, Arc::clone(&self.resources), &site, arguments).await
    }

    async fn call_agent(&self, site: CallSite, input: Value) -> Result<Value> {
        if let Some(recorded) = self.recorded(&site, CallKind::Agent)? {
            return Ok(recorded);
        }
        let refused = |message: String| {
            let message = redact::message(&message);
            Error::Child { agent: site.name.clone(), reason: "refused".to_owned(), message }
        };
        let run = self.child_id(&site)?;
        // What led to the child stands before it in the log.
        self.run.journal.flush();
        let (end, spent) = match resume::child(&self.run, &site, &run).await? {
            Some(end) => (end, resume::spent(&self.run, &run).await?),
            None => {
                let context = self.run.context.child_run(&site.name, run).map_err(|e| refused(e.to_string()))?;
                let child = driver::child(&self.run, context, &site.name, input);
                let outcome = Box::pin(child).await.map_err(|e| refused(e.to_string()))?;
                (outcome.end, outcome.spent)
            }
        };
        match end {
            End::Completed(result) => {
                let spent = (!spent.is_zero()).then_some(spent);
                self.record_cost(&site, CallKind::Agent, &result, spent)?;
                Ok(result)
            }
            end => Err(Error::Child {
                agent: site.name.clone(),
                reason: end.reason().to_owned(),
                message: end.message().unwrap_or_default(),
            }),
        }
    }

    async fn ask(&self, site: CallSite, question: Question) -> Result<Value> {
        let index = site.index;
        let (until, left, is_new) = match self.wait(&site, CallKind::Answer, question.expires)? {
            Wait::Recorded(answer) => return Ok(answer),
            Wait::Never => std::future::pending().await,
            Wait::Over(Why::Expired) => return self.settle(&site, &question, Answer::Late),
            Wait::Over(Why::Refused) => return self.settle(&site, &question, Answer::Refused(Value::Null)),
            Wait::Over(_) => (None, None, false),
            Wait::Again { left } => (None, left, false),
            Wait::New { until, left } => (until, left, true),
        };
        let waiting_for = WaitFor::Human.as_str();
        let said = is_new.then_some(Waiting { waiting_for, index, question: Some(&question), until });
        let answer = self.waiting(index, WaitFor::Human, said, self.answer(&site, &question, left)).await;
        self.settle(&site, &question, answer)
    }

    async fn sleep(&self, site: CallSite, duration: Duration) -> Result<()> {
        let (until, left, is_new) = match self.wait(&site, CallKind::Timer, Some(duration))? {
            Wait::Recorded(_) => return Ok(()),
            Wait::Never => std::future::pending().await,
            Wait::Over(_) => return self.record(&site, CallKind::Timer, &Value::Bool(true)),
            Wait::Again { left } => (None, left, false),
            Wait::New { until, left } => (until, left, true),
        };
        let waiting_for = WaitFor::Timer.as_str();
        let said = is_new.then_some(Waiting { waiting_for, index: site.index, question: None, until });
        let timer = async { (tokio::time::sleep(left.unwrap_or(duration)).await, Why::Timer) };
        self.waiting(site.index, WaitFor::Timer, said, timer).await;
        self.record(&site, CallKind::Timer, &Value::Bool(true))
    }

    async fn now(&self, site: CallSite) -> Result<Timestamp> {
        if let Some(recorded) = self.recorded(&site, CallKind::Time)? {
            return recorded.as_i64().map(Timestamp::from_micros).ok_or_else(|| misshapen(&site));
        }
        let now = self.run.platform.clock.now();
        self.record(&site, CallKind::Time, &Value::from(now.as_micros()))?;
        Ok(now)
    }

    async fn random(&self, site: CallSite) -> Result<u64> {
        if let Some(recorded) = self.recorded(&site, CallKind::Random)? {
            return recorded.as_u64().ok_or_else(|| misshapen(&site));
        }
        #[expect(clippy::cast_possible_truncation, reason = "64 of the 128 bits are wanted")]
        let bits = (self.run.platform.ids.random() >> 60) as u64;
        self.record(&site, CallKind::Random, &Value::from(bits))?;
        Ok(bits)
    }
}

impl RunHost {
    /// Makes of an answer what the agent is told, and records it when it is one.
    fn settle(&self, site: &CallSite, question: &Question, answer: Answer) -> Result<Value> {
        let answer = match answer {
            Answer::Given(answer) => answer,
            Answer::Refused(answer) => {
                let problem = question.refuses(&answer).unwrap_or_default();
                return Err(Error::Shape { what: "the answer".to_owned(), problem });
            }
            Answer::Late => {
                question.default.clone().ok_or_else(|| Error::failed("the question expired without an answer"))?
            }
            Answer::Impossible => return Err(Error::Stopped { why: "nobody can answer any more".to_owned() }),
        };
        self.record(site, CallKind::Answer, &answer)?;
        Ok(answer)
    }
}

fn misshapen(site: &CallSite) -> Error {
    Error::Shape { what: format!("what was recorded of \"{}\"", site.name), problem: "it is no number".to_owned() }
}
