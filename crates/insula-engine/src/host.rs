//! The engine's side of a session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_agent::{CallSite, Effect, Error, InstanceMarker, Question, Resources, Result, SessionHost, StepStart};
use insula_context::{Amounts, Timestamp, UserExecutionContext};
use insula_infra::EventType;
use serde_json::Value;

use crate::{
    children,
    core::RunCore,
    dispatcher,
    events::{self, CallKind, Custom, StepCompleted, StepStarted, Thinking},
    reconcile::{self, Verdict},
    replay::Past,
    waiting,
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

    /// What this call gave before; `None` when it is to be done now.
    fn recorded(&self, site: &CallSite, kind: CallKind) -> Result<Option<Value>> {
        self.run.going_on()?;
        match self.run.history.take(site, kind)? {
            Some(Past::Gave(result)) => Ok(Some(result)),
            _ => Ok(None),
        }
    }

    /// A step that must not be repeated has its beginning recorded.
    async fn begin_once(&self, site: &CallSite, effect: Effect) -> Result<()> {
        let said = StepStarted { index: site.index, name: &site.name, effect };
        let event = events::event(EventType::StepStarted, self.run.platform.clock.now(), &said);
        self.run.journal.add(event, None, |_| {});
        self.run.durable().await
    }
}

/// Records what a call gave.
pub(crate) fn record(run: &RunCore, site: &CallSite, kind: CallKind, result: &Value) -> Result<()> {
    let event = completed(run, site, kind, result, None)?;
    run.journal.add_all(vec![event], None, |_| {});
    run.step_recorded();
    Ok(())
}

/// The event that records it, with a large value beside it.
pub(crate) fn completed(
    run: &RunCore,
    site: &CallSite,
    kind: CallKind,
    result: &Value,
    spent: Option<Amounts>,
) -> Result<events::Saying> {
    let shown = events::show("the result", result).map_err(|e| Error::failed(e.to_string()))?;
    let said = StepCompleted { index: site.index, name: &site.name, kind, result: &shown.shown, spent };
    let mut event = events::event(EventType::StepCompleted, run.platform.clock.now(), &said);
    event.journal = shown.whole;
    Ok((event, shown.payload))
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

    async fn begin_step(&self, site: &CallSite, effect: Effect) -> Result<StepStart> {
        self.run.going_on()?;
        let mut has_begun = false;
        match self.run.history.take(site, CallKind::Step)? {
            Some(Past::Gave(result)) => return Ok(StepStart::Recorded(result)),
            Some(Past::Executing { asked, .. }) => {
                let verdict = reconcile::ask(&self.run, site, &format!("the step \"{}\"", site.name), asked).await?;
                if let Verdict::Happened { result, resumed } = verdict {
                    let event = completed(&self.run, site, CallKind::Step, &result, None)?;
                    self.run.journal.add_all(vec![(resumed, None), event], Some(site.index), |_| {});
                    self.run.step_recorded();
                    return Ok(StepStart::Recorded(result));
                }
                has_begun = true;
            }
            _ => {}
        }
        let working = self.run.work();
        match effect {
            Effect::Pure => {}
            // Its beginning is in the log, once; what was found out about it must be there before it is done.
            _ if has_begun => self.run.durable().await?,
            Effect::Idempotent => self.run.durable().await?,
            Effect::Once | Effect::Compensable => self.begin_once(site, effect).await?,
        }
        Ok(StepStart::Now(Box::new(working)))
    }

    async fn end_step(&self, site: &CallSite, result: &Value) -> Result<()> {
        record(&self.run, site, CallKind::Step, result)
    }

    async fn call_tool(&self, site: CallSite, arguments: Value) -> Result<Value> {
        dispatcher::call(&self.run, Arc::clone(&self.resources), &site, arguments).await
    }

    async fn call_agent(&self, site: CallSite, input: Value, within: Option<Duration>) -> Result<Value> {
        children::call(&self.run, &site, input, within).await
    }

    async fn ask(&self, site: CallSite, question: Question) -> Result<Value> {
        waiting::for_answer(&self.run, &site, question).await
    }

    async fn sleep(&self, site: CallSite, duration: Duration) -> Result<()> {
        let until = self.run.platform.clock.now().plus(duration);
        waiting::until(&self.run, &site, until).await
    }

    async fn sleep_until(&self, site: CallSite, until: Timestamp) -> Result<()> {
        waiting::until(&self.run, &site, until).await
    }

    async fn now(&self, site: CallSite) -> Result<Timestamp> {
        if let Some(recorded) = self.recorded(&site, CallKind::Time)? {
            return recorded.as_i64().map(Timestamp::from_micros).ok_or_else(|| misshapen(&site));
        }
        let now = self.run.platform.clock.now();
        record(&self.run, &site, CallKind::Time, &Value::from(now.as_micros()))?;
        Ok(now)
    }

    async fn random(&self, site: CallSite) -> Result<u64> {
        if let Some(recorded) = self.recorded(&site, CallKind::Random)? {
            return recorded.as_u64().ok_or_else(|| misshapen(&site));
        }
        #[expect(clippy::cast_possible_truncation, reason = "64 of the 128 bits are wanted")]
        let bits = (self.run.platform.ids.random() >> 60) as u64;
        record(&self.run, &site, CallKind::Random, &Value::from(bits))?;
        Ok(bits)
    }
}

fn misshapen(site: &CallSite) -> Error {
    Error::Shape { what: format!("what was recorded of \"{}\"", site.name), problem: "it is no number".to_owned() }
}
