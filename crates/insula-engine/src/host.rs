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
use insula_context::{RunId, Timestamp, UserExecutionContext};
use insula_infra::{EventType, PayloadHash, WaitFor};
use serde_json::Value;

use crate::{
    core::RunCore,
    dispatcher, driver,
    events::{self, Custom, Resumed, StepCompleted, Thinking, Waiting},
    machine::{Happened, Phase},
    outcome::End,
    redact,
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

    fn record(&self, site: &CallSite, result: &Value) -> Result<()> {
        let shown = events::show("the result", result).map_err(|e| Error::failed(e.to_string()))?;
        let said = StepCompleted { index: site.index, name: &site.name, result: &shown.shown };
        let mut event = events::event(EventType::StepCompleted, self.run.platform.clock.now(), &said);
        event.journal = shown.whole;
        self.run.journal.add(event, shown.payload, |_| {});
        self.run.step_recorded();
        Ok(())
    }

    /// Says that the run waits, waits, and says that it goes on.
    async fn waiting<T>(&self, reason: WaitFor, said: Waiting<'_>, why: &str, wait: impl Future<Output = T>) -> T {
        self.run.step(Happened::Parked(reason));
        self.run.journal.say(EventType::AgentWaiting, &said);
        let mut pause = Pause { run: &self.run, why: "given_up" };
        let answer = wait.await;
        pause.why = why;
        answer
    }

    /// The id of a child: the same whenever the same call of the same run is made.
    fn child_id(&self, site: &CallSite) -> Result<RunId> {
        let hash = PayloadHash::of(format!("{}/{}", self.run.context.run(), site.index).as_bytes()).to_string();
        RunId::new(&hash[..32]).map_err(|e| Error::failed(e.to_string()))
    }
}

/// Says that the run goes on, also when the agent gave up waiting. After the run's end it says nothing.
struct Pause<'a> {
    run: &'a RunCore,
    why: &'a str,
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.run.step(Happened::Woken);
        if !matches!(self.run.phase(), Phase::Ended(_)) {
            self.run.journal.say(EventType::AgentResumed, &Resumed { why: self.why });
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
        false
    }

    fn next_call(&self, name: &str) -> CallSite {
        CallSite { index: self.calls.fetch_add(1, Ordering::Relaxed), name: name.to_owned() }
    }

    fn think(&self, text: &str) {
        self.run.journal.say(EventType::AgentThinking, &Thinking { text, step: self.run.next_thought() });
    }

    fn emit(&self, name: &str, data: &Value) {
        // A JSON value always has a JSON form.
        let Ok(shown) = events::show("the data", data) else { return };
        let said = Custom { name, data: &shown.shown };
        let event = events::event(EventType::Custom, self.run.platform.clock.now(), &said);
        self.run.journal.add(event, shown.payload, |_| {});
    }

    async fn begin_step(&self, _site: &CallSite, effect: Effect) -> Result<Option<Value>> {
        self.going_on()?;
        if effect != Effect::Pure {
            self.run.durable().await?;
        }
        Ok(None)
    }

    async fn end_step(&self, site: &CallSite, result: &Value) -> Result<()> {
        self.record(site, result)
    }

    async fn call_tool(&self, site: CallSite, arguments: Value) -> Result<Value> {
        dispatcher::call(&self.run, Arc::clone(&self.resources), &site, arguments).await
    }

    async fn call_agent(&self, site: CallSite, input: Value) -> Result<Value> {
        self.going_on()?;
        let refused = |message: String| {
            let message = redact::message(&message);
            Error::Child { agent: site.name.clone(), reason: "refused".to_owned(), message }
        };
        let run = self.child_id(&site)?;
        // What led to the child stands before it in the log.
        self.run.journal.flush();
        let context = self.run.context.child_run(&site.name, run).map_err(|e| refused(e.to_string()))?;
        let child = driver::child(&self.run, context, &site.name, input);
        let outcome = Box::pin(child).await.map_err(|e| refused(e.to_string()))?;
        match outcome.end {
            End::Completed(result) => {
                self.record(&site, &result)?;
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
        self.going_on()?;
        let (scope, run) = (self.run.context.scope(), self.run.context.run());
        let until = question.expires.map(|after| self.run.platform.clock.now().plus(after));
        let said =
            Waiting { waiting_for: WaitFor::Human.as_str(), index: site.index, question: Some(&question), until };
        let answer = self.run.platform.live.ask(scope, run, site.index);
        let wait = async {
            match question.expires {
                Some(after) => tokio::time::timeout(after, answer).await.ok(),
                None => Some(answer.await),
            }
        };
        let answer = match self.waiting(WaitFor::Human, said, "answered", wait).await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) => return Err(Error::Stopped { why: "nobody can answer any more".to_owned() }),
            None => question.default.clone().ok_or_else(|| Error::failed("the question expired without an answer"))?,
        };
        if let Some(problem) = question.refuses(&answer) {
            return Err(Error::Shape { what: "the answer".to_owned(), problem });
        }
        self.record(&site, &answer)?;
        Ok(answer)
    }

    async fn sleep(&self, site: CallSite, duration: Duration) -> Result<()> {
        self.going_on()?;
        let until = Some(self.run.platform.clock.now().plus(duration));
        let said = Waiting { waiting_for: WaitFor::Timer.as_str(), index: site.index, question: None, until };
        self.waiting(WaitFor::Timer, said, "timer", tokio::time::sleep(duration)).await;
        self.record(&site, &Value::Bool(true))
    }

    async fn now(&self, site: CallSite) -> Result<Timestamp> {
        let now = self.run.platform.clock.now();
        self.record(&site, &Value::from(now.as_micros()))?;
        Ok(now)
    }

    async fn random(&self, site: CallSite) -> Result<u64> {
        #[expect(clippy::cast_possible_truncation, reason = "64 of the 128 bits are wanted")]
        let bits = (self.run.platform.ids.random() >> 60) as u64;
        self.record(&site, &Value::from(bits))?;
        Ok(bits)
    }
}
