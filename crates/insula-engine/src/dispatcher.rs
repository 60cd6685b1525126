//! The only way to call a tool: scope, permission, limits, events, journal, in that order.

use std::{sync::Arc, time::Duration};

use insula_agent::{CallSite, Effect, Error, Resources, Tool, ToolCall, ToolFailure, ToolSpec};
use insula_context::{Amounts, Timestamp};
use insula_infra::{EventType, NewEvent, Payload, RateLimit, Taken};
use serde_json::{Value, value::RawValue};

use crate::{
    AuditEntry,
    attempts::{self, Admitted, Caught},
    budget::{Charge, Charged, Hold, Settled},
    core::RunCore,
    events::{self, CallKind, Shown, ToolCompleted, ToolExecuting, ToolStatus},
    journal::Open,
    limits::ToolPermit,
    redact,
    replay::Past,
};

/// Calls a tool for a run. Nothing is said of a call that was refused; what is said of one that was made comes from a
/// guard around the real call.
pub(crate) async fn call(
    run: &Arc<RunCore>,
    resources: Arc<dyn Resources>,
    site: &CallSite,
    arguments: Value,
) -> Result<Value, Error> {
    match run.history.take(site, CallKind::Tool)? {
        Some(Past::Gave(result)) => Ok(result),
        Some(Past::Failed(failure)) => Err(Error::Tool { tool: site.name.clone(), failure, cause: None }),
        // The agent did not wait for it then, and does not now.
        Some(Past::GivenUp) => std::future::pending().await,
        Some(Past::Executing(effect)) => again(run, resources, site, arguments, effect).await,
        _ => first(run, resources, site, arguments).await,
    }
}

async fn first(
    run: &Arc<RunCore>,
    resources: Arc<dyn Resources>,
    site: &CallSite,
    arguments: Value,
) -> Result<Value, Error> {
    let (admitted, cost) = attempts::admit(run, site).await.map_err(|failure| refuse(run, site, failure))?;
    let guard = Guard::open(run, admitted.tool.as_ref(), site, &arguments).await?;
    carry_out(guard, admitted, cost, resources, arguments).await
}

/// A call whose worker was lost meanwhile. It is repeated where both then and now the tool says that it may be.
async fn again(
    run: &Arc<RunCore>,
    resources: Arc<dyn Resources>,
    site: &CallSite,
    arguments: Value,
    effect: Effect,
) -> Result<Value, Error> {
    let guard = Guard::take_over(run, site);
    if !is_repeatable(effect) {
        return guard.fail(ToolFailure::Unknown);
    }
    let (admitted, cost) = match attempts::admit(run, site).await {
        Ok(admitted) => admitted,
        // The guard says that the call was stopped.
        Err(failure @ ToolFailure::Stopped { .. }) => return Err(refuse(run, site, failure)),
        Err(failure) => {
            refuse(run, site, failure.clone());
            return guard.fail(failure);
        }
    };
    let effect = admitted.tool.spec().effect;
    if !is_repeatable(effect) {
        return guard.fail(ToolFailure::Unknown);
    }
    if effect != Effect::Pure {
        run.durable().await?;
    }
    carry_out(guard, admitted, cost, resources, arguments).await
}

const fn is_repeatable(effect: Effect) -> bool {
    matches!(effect, Effect::Pure | Effect::Idempotent)
}

async fn carry_out(
    mut guard: Guard,
    admitted: Admitted,
    cost: (Hold, Charged),
    resources: Arc<dyn Resources>,
    arguments: Value,
) -> Result<Value, Error> {
    let Guard { run, open, .. } = &guard;
    let run = Arc::clone(run);
    let key = format!("{}/{}/{}", run.context.run(), open.index, open.tool);
    let call = ToolCall::new(open.id.clone(), key, run.context.clone(), resources);
    guard.charge = Some(Charge::new(cost, call.spent_so_far().clone()));
    let limit = admitted.tool.spec().timeout;
    let (answer, attempts) = admitted.make(&run, &call, arguments).await;
    guard.attempts = attempts;
    guard.close(answer, limit)
}

/// The tool of this name, for a run that may still call one.
pub(crate) fn find(run: &RunCore, name: &str) -> Result<Arc<dyn Tool>, ToolFailure> {
    let (platform, scope) = (&run.platform, run.context.scope());
    if run.context.cancellation().is_cancelled() || run.journal.failure().is_some() {
        return Err(ToolFailure::Stopped { why: "the run is over".to_owned() });
    }
    let absent = || ToolFailure::Absent { available: platform.tools.names(scope) };
    platform.tools.tool(scope, name).ok_or_else(absent)
}

/// Permission and places.
pub(crate) fn admit(run: &RunCore, tool: &dyn Tool) -> Result<ToolPermit, ToolFailure> {
    let spec = tool.spec();
    let lacks = |permission: &&String| !run.platform.tools.permits(run.context.scope(), permission);
    if let Some(permission) = spec.permission.as_ref().filter(lacks) {
        return Err(ToolFailure::Denied { permission: permission.clone() });
    }
    run.account.tool(&spec.name, spec.in_flight).map_err(|limit| ToolFailure::Busy { limit })
}

pub(crate) async fn take_rate(run: &RunCore, spec: &ToolSpec) -> Result<(), ToolFailure> {
    let Some((max, window)) = spec.rate else { return Ok(()) };
    let limit = RateLimit { name: format!("tool:{}", spec.name), max, window };
    match run.platform.backend.quota.take(run.context.scope(), &limit, 1).await {
        Ok(Taken::Granted { .. }) => Ok(()),
        Ok(Taken::Refused { retry_after }) => Err(ToolFailure::RateLimited { retry_after }),
        // A limit that cannot be checked is not a limit that is kept: closed, not open.
        Err(error) => Err(ToolFailure::Failed {
            message: format!("its rate limit cannot be checked: {}", redact::message(&error.to_string())),
        }),
    }
}

fn refuse(run: &RunCore, site: &CallSite, failure: ToolFailure) -> Error {
    run.platform.audit.refused(AuditEntry {
        at: run.platform.clock.now(),
        scope: run.context.scope().clone(),
        run_id: run.context.run().clone(),
        action: format!("call the tool \"{}\"", site.name),
        refusal: failure.to_string(),
    });
    Error::Tool { tool: site.name.clone(), failure, cause: None }
}

/// Says `tool_executing` when it is made and `tool_completed` when it goes, however it goes.
struct Guard {
    run: Arc<RunCore>,
    open: Open,
    /// What the call costs, until that is booked. A call that was not made costs nothing.
    charge: Option<Charge>,
    attempts: u32,
    said: bool,
}

impl Guard {
    /// Says that the call begins. A call that somebody outside can see begins only when that is durable.
    async fn open(run: &Arc<RunCore>, tool: &dyn Tool, site: &CallSite, arguments: &Value) -> Result<Self, Error> {
        let since = run.platform.clock.now();
        let open = run.history.recorded().call(site.index, &site.name, since);
        let shown = events::show("the arguments", arguments).map_err(unspeakable)?;
        let said =
            ToolExecuting { call_id: &open.id, tool: &open.tool, arguments: &shown.shown, effect: tool.spec().effect };
        let event = events::event(EventType::ToolExecuting, since, &said);
        run.journal.add(event, shown.payload, |calls| calls.push(open.clone()));
        run.tool_called();
        let guard = Self { run: Arc::clone(run), open, charge: None, attempts: 1, said: false };
        if tool.spec().effect != Effect::Pure {
            run.durable().await?;
        }
        Ok(guard)
    }

    /// The guard of a call that has begun before the worker was lost. The run's journal knows it as open.
    fn take_over(run: &Arc<RunCore>, site: &CallSite) -> Self {
        let open = run.history.recorded().call(site.index, &site.name, run.platform.clock.now());
        Self { run: Arc::clone(run), open, charge: None, attempts: 1, said: false }
    }

    /// Says that the call has failed without having been made.
    fn fail(mut self, failure: ToolFailure) -> Result<Value, Error> {
        let status = if failure == ToolFailure::Unknown { ToolStatus::Unknown } else { ToolStatus::Error };
        let failed = Err(Error::Tool { tool: self.open.tool.clone(), failure, cause: None });
        self.say(status, &failed)?;
        failed
    }

    fn close(mut self, answer: Option<Caught>, limit: Option<Duration>) -> Result<Value, Error> {
        let fail = |failure, cause| Error::Tool { tool: self.open.tool.clone(), failure, cause };
        let (status, result) = match answer {
            Some(Ok(Ok(result))) => (ToolStatus::Ok, Ok(result)),
            Some(Ok(Err(error))) => (ToolStatus::Error, Err(own_words(&self.open.tool, error))),
            Some(Err(_panic)) => (ToolStatus::Error, Err(fail(ToolFailure::Panicked, None))),
            None => {
                let after = limit.unwrap_or_default();
                (ToolStatus::Timeout, Err(fail(ToolFailure::Timeout { after }, None)))
            }
        };
        self.say(status, &result)?;
        result
    }

    fn say(&mut self, status: ToolStatus, result: &Result<Value, Error>) -> Result<(), Error> {
        let shown = result.as_ref().ok().map(|r| events::show("the result", r)).transpose().map_err(unspeakable)?;
        let error = result.as_ref().err().map(|e| redact::message(&e.to_string()));
        // A resumed run is told the same kind of failure.
        let failure = result.as_ref().err().and_then(|error| match error {
            Error::Tool { failure, .. } => events::raw("the failure", failure).ok(),
            _ => None,
        });
        let now = self.run.platform.clock.now();
        let settled = self.settle(shown.as_ref().map_or(0, Shown::bytes), now);
        let result = shown.as_ref().map(|s| &*s.shown);
        let ended = Ended { status, result, error: error.as_deref(), attempts: self.attempts, spent: settled.reported };
        let mut event = completed(&self.open, ended, now);
        let (whole, payload) = shown.map_or((None, None), |s| (s.whole, s.payload));
        event.journal = whole.or(failure);
        self.said = true;
        self.run.history.ended(self.open.index);
        self.write(event, payload, settled);
        Ok(())
    }

    fn settle(&mut self, bytes: usize, now: Timestamp) -> Settled {
        self.charge.take().map_or_else(Settled::default, |charge| charge.settle(&self.open, bytes, now))
    }

    /// The end of the call, its cost and what is to be said of that are one append.
    fn write(&self, event: NewEvent, payload: Option<Payload>, settled: Settled) {
        let events = std::iter::once(event).chain(settled.warnings);
        self.run.journal.add_all(events, payload, settled.spent, |calls| calls.retain(|call| call.id != self.open.id));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.said {
            let now = self.run.platform.clock.now();
            let settled = self.settle(0, now);
            let event = completed(&self.open, Ended { spent: settled.reported, ..Ended::aborted() }, now);
            self.write(event, None, settled);
        }
    }
}

/// The `tool_completed` that is owed for a call whose future was dropped or abandoned.
pub(crate) fn aborted(open: &Open, now: Timestamp) -> NewEvent {
    completed(open, Ended::aborted(), now)
}

/// How a call ended.
struct Ended<'a> {
    status: ToolStatus,
    result: Option<&'a RawValue>,
    error: Option<&'a str>,
    attempts: u32,
    spent: Option<Amounts>,
}

impl Ended<'_> {
    const fn aborted() -> Self {
        Self {
            status: ToolStatus::Aborted,
            result: None,
            error: Some("the call was stopped"),
            attempts: 1,
            spent: None,
        }
    }
}

fn completed(open: &Open, ended: Ended<'_>, now: Timestamp) -> NewEvent {
    let Ended { status, result, error, attempts, spent } = ended;
    let duration_ms = events::millis(now.since(open.since));
    let (call_id, tool, index) = (&*open.id, &*open.tool, open.index);
    let said = ToolCompleted { call_id, tool, index, status, result, error, attempts, spent, duration_ms };
    events::event(EventType::ToolCompleted, now, &said)
}

/// A tool's error under the tool's name, whatever kind of error it returned.
fn own_words(tool: &str, error: Error) -> Error {
    match error {
        Error::Tool { tool: named, failure, cause } if named == tool => Error::Tool { tool: named, failure, cause },
        error => {
            let message = redact::message(&error.to_string());
            let failure = match error.is_transient() {
                true => ToolFailure::FailedForNow { message },
                false => ToolFailure::Failed { message },
            };
            Error::Tool { tool: tool.to_owned(), failure, cause: Some(Box::new(error)) }
        }
    }
}

fn unspeakable(error: crate::Error) -> Error {
    Error::failed(error.to_string())
}
