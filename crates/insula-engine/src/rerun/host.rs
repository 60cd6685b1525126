//! What the calls of a replayed agent become: answers from the record, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_agent::{
    CallSite, Effect, Error, InstanceMarker, Question, Resources, Result, SessionHost, StepStart, ToolFailure,
};
use insula_context::{RunId, Timestamp, UserExecutionContext};
use insula_infra::PayloadHash;
use serde_json::Value;

use super::{
    refusing::Refusing,
    tape::{Taken, Tape, place},
};
use crate::{
    Archive, End,
    events::{CallKind, Why},
    history::words,
    platform::Platform,
    redact,
    replay::Past,
};

pub(super) struct ReplayHost {
    platform: Arc<Platform>,
    tape: Arc<Tape>,
    context: UserExecutionContext,
    resources: Arc<Refusing>,
    marker: InstanceMarker,
    calls: AtomicU32,
    /// How the children ended that are in the archive.
    children: BTreeMap<RunId, End>,
    /// Steps whose work is done now, because nothing is recorded of them.
    done_now: Mutex<BTreeSet<u32>>,
}

impl ReplayHost {
    pub(super) fn new(
        platform: Arc<Platform>,
        archive: &Archive,
        tape: Arc<Tape>,
        context: UserExecutionContext,
        fresh: InstanceMarker,
    ) -> Self {
        let resources = Arc::new(Refusing::new(context.clone(), Arc::clone(&tape)));
        let marker = tape.marker().map_or(fresh, InstanceMarker::new);
        let (calls, done_now) = (AtomicU32::new(0), Mutex::default());
        Self { platform, children: archive.ends(), tape, context, resources, marker, calls, done_now }
    }

    /// What was given then to a call that cannot fail otherwise.
    async fn gave(&self, site: &CallSite, kind: CallKind) -> Result<Value> {
        match self.tape.take(site, kind, None)? {
            Taken::Past(past) => self.settled(site, past).await,
            Taken::Absent => self.beyond(site, kind).await,
        }
    }

    async fn settled(&self, site: &CallSite, past: Past) -> Result<Value> {
        match past {
            Past::Gave(value) => Ok(value),
            Past::Failed(failure) => Err(Error::Tool { tool: site.name.clone(), failure, cause: None }),
            Past::Waited(Why::Timer) => Ok(Value::Bool(true)),
            // The agent did not get an answer then, and does not now.
            _ => Ok(self.tape.never().await),
        }
    }

    /// A call of which nothing is recorded: where the run was stopped it never came back, everywhere else it is another.
    async fn beyond(&self, site: &CallSite, kind: CallKind) -> Result<Value> {
        if self.tape.is_where_it_was_stopped() {
            return Ok(self.tape.never().await);
        }
        Err(self.tape.not_recorded(place(site), words(kind, &site.name)))
    }

    /// Why a tool is refused here before anything happens. Then as now, nothing is said of such a call.
    fn refusal(&self, name: &str) -> Option<ToolFailure> {
        let (tools, scope) = (&self.platform.tools, self.context.scope());
        let Some(tool) = tools.tool(scope, name) else {
            return Some(ToolFailure::Absent { available: tools.names(scope) });
        };
        let permission = tool.spec().permission.clone().filter(|permission| !tools.permits(scope, permission));
        permission.map(|permission| ToolFailure::Denied { permission })
    }

    /// How a child ended of which its parent's record says nothing: it failed, or was refused.
    fn child(&self, site: &CallSite, input: &Value) -> Option<Result<Value>> {
        let child = |reason: &str, message: String| {
            Err(Error::Child { agent: site.name.clone(), reason: reason.to_owned(), message })
        };
        let hash = PayloadHash::of(format!("{}/{}", self.context.run(), site.index).as_bytes()).to_string();
        let known = RunId::new(&hash[..32]).ok().and_then(|id| self.children.get(&id));
        match known {
            Some(End::Completed(_)) => None,
            Some(end) => Some(child(end.reason(), end.message().unwrap_or_default())),
            None => {
                let checked = self.platform.instances.check(&site.name, self.context.scope());
                let refused = match checked {
                    Err(error) => Some(error.to_string()),
                    Ok(_) => {
                        let registry = self.platform.instances.registry();
                        registry.check_input(&site.name, input).err().map(|error| error.to_string())
                    }
                };
                refused.map(|message| child("refused", redact::message(&message)))
            }
        }
    }
}

#[async_trait]
impl SessionHost for ReplayHost {
    fn resources(&self) -> Arc<dyn Resources> {
        Arc::clone(&self.resources) as _
    }

    fn context(&self) -> &UserExecutionContext {
        &self.context
    }

    fn marker(&self) -> InstanceMarker {
        self.marker
    }

    fn replaying(&self) -> bool {
        true
    }

    fn next_call(&self, name: &str) -> CallSite {
        CallSite { index: self.calls.fetch_add(1, Ordering::Relaxed), name: name.to_owned() }
    }

    fn think(&self, text: &str) {
        self.tape.think(text);
    }

    fn emit(&self, name: &str, data: &Value) {
        self.tape.emit(name, data);
    }

    async fn begin_step(&self, site: &CallSite, effect: Effect) -> Result<StepStart> {
        let recorded = match self.tape.take(site, CallKind::Step, None)? {
            // It began, and its result is not there: it failed, unless the run was stopped meanwhile.
            Taken::Past(Past::Executing { .. }) if !self.tape.was_stopped() => return Err(unexplained(site)),
            Taken::Past(past) => self.settled(site, past).await,
            // A step that failed is not recorded. One without effects is simply done: it fails again, or is a difference.
            Taken::Absent if effect == Effect::Pure && !self.tape.is_where_it_was_stopped() => {
                self.done_now.lock().unwrap_or_else(PoisonError::into_inner).insert(site.index);
                return Ok(StepStart::Now(Box::new(())));
            }
            Taken::Absent if self.tape.goes_on_after(site) => return Err(unexplained(site)),
            Taken::Absent => self.beyond(site, CallKind::Step).await,
        };
        recorded.map(StepStart::Recorded)
    }

    async fn end_step(&self, site: &CallSite, _: &Value) -> Result<()> {
        if self.done_now.lock().unwrap_or_else(PoisonError::into_inner).remove(&site.index) {
            self.beyond(site, CallKind::Step).await?;
        }
        Ok(())
    }

    async fn call_tool(&self, site: CallSite, arguments: Value) -> Result<Value> {
        match self.tape.take(&site, CallKind::Tool, Some(&arguments))? {
            Taken::Past(past) => self.settled(&site, past).await,
            Taken::Absent => match self.refusal(&site.name) {
                Some(failure) => Err(Error::Tool { tool: site.name.clone(), failure, cause: None }),
                None => self.beyond(&site, CallKind::Tool).await,
            },
        }
    }

    async fn call_agent(&self, site: CallSite, input: Value, _: Option<Duration>) -> Result<Value> {
        match self.tape.take(&site, CallKind::Agent, None)? {
            Taken::Past(past @ (Past::Gave(_) | Past::GivenUp)) => self.settled(&site, past).await,
            // A child that gave nothing is found by its own end.
            taken => match (self.child(&site, &input), taken) {
                (Some(ended), _) => ended,
                (None, Taken::Past(past)) => self.settled(&site, past).await,
                (None, Taken::Absent) => self.beyond(&site, CallKind::Agent).await,
            },
        }
    }

    async fn ask(&self, site: CallSite, _: Question) -> Result<Value> {
        match self.tape.take(&site, CallKind::Answer, None)? {
            Taken::Past(Past::Waited(Why::Expired)) => Err(Error::failed("the question expired without an answer")),
            Taken::Past(past) => self.settled(&site, past).await,
            Taken::Absent => self.beyond(&site, CallKind::Answer).await,
        }
    }

    async fn sleep(&self, site: CallSite, _: Duration) -> Result<()> {
        self.gave(&site, CallKind::Timer).await.map(|_| ())
    }

    async fn sleep_until(&self, site: CallSite, _: Timestamp) -> Result<()> {
        self.gave(&site, CallKind::Timer).await.map(|_| ())
    }

    async fn now(&self, site: CallSite) -> Result<Timestamp> {
        let recorded = self.gave(&site, CallKind::Time).await?;
        recorded.as_i64().map(Timestamp::from_micros).ok_or_else(|| misshapen(&site))
    }

    async fn random(&self, site: CallSite) -> Result<u64> {
        self.gave(&site, CallKind::Random).await?.as_u64().ok_or_else(|| misshapen(&site))
    }
}

/// A step whose work failed: with what is not recorded.
fn unexplained(site: &CallSite) -> Error {
    Error::failed(format!("the step \"{}\" gave no result, and why is not recorded", site.name))
}

fn misshapen(site: &CallSite) -> Error {
    Error::Shape { what: format!("what was recorded of \"{}\"", site.name), problem: "it is no number".to_owned() }
}
