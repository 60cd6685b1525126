//! The only way to call a tool: scope, permission, limits, events, journal, in that order.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use insula_agent::{CallSite, Effect, Error, Resources, Tool, ToolCall, ToolFailure};
use insula_context::Timestamp;
use insula_infra::{EventType, NewEvent, RateLimit, Taken};
use serde_json::{Value, value::RawValue};

use crate::{
    AuditEntry,
    core::RunCore,
    events::{self, CallKind, ToolCompleted, ToolExecuting, ToolStatus},
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
    let (tool, permit) = admit(run, &site.name).await.map_err(|failure| refuse(run, site, failure))?;
    let guard = Guard::open(run, tool.as_ref(), site, &arguments).await?;
    carry_out(guard, (tool, permit), resources, arguments).await
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
    let (tool, permit) = match admit(run, &site.name).await {
        Ok(admitted) => admitted,
        // The guard says that the call was stopped.
        Err(failure @ ToolFailure::Stopped { .. }) => return Err(refuse(run, site, failure)),
        Err(failure) => {
            refuse(run, site, failure.clone());
            return guard.fail(failure);
        }
    };
    if !is_repeatable(tool.spec().effect) {
        return guard.fail(ToolFailure::Unknown);
    }
    if tool.spec().effect != Effect::Pure {
        run.durable().await?;
    }
    carry_out(guard, (tool, permit), resources, arguments).await
}

const fn is_repeatable(effect: Effect) -> bool {
    matches!(effect, Effect::Pure | Effect::Idempotent)
}

async fn carry_out(
    guard: Guard,
    (tool, permit): (Arc<dyn Tool>, ToolPermit),
    resources: Arc<dyn Resources>,
    arguments: Value,
) -> Result<Value, Error> {
    let Guard { run, open, .. } = &guard;
    let key = format!("{}/{}/{}", run.context.run(), open.index, open.tool);
    let call = ToolCall::new(open.id.clone(), key, run.context.clone(), resources);
    let limit = tool.spec().timeout;
    let answer = within(limit, AssertUnwindSafe(tool.call(call, arguments)).catch_unwind()).await;
    drop(permit);
    guard.close(answer, limit)
}

/// Everything that may refuse a call, before anything happens.
async fn admit(run: &Arc<RunCore>, name: &str) -> Result<(Arc<dyn Tool>, ToolPermit), ToolFailure> {
    let (platform, scope) = (&run.platform, run.context.scope());
    if run.context.cancellation().is_cancelled() || run.journal.failure().is_some() {
        return Err(ToolFailure::Stopped { why: "the run is over".to_owned() });
    }
    let Some(tool) = platform.tools.tool(scope, name) else {
        return Err(ToolFailure::Absent { available: platform.tools.names(scope) });
    };
    let spec = tool.spec();
    if let Some(permission) = spec.permission.as_ref().filter(|p| !platform.tools.permits(scope, p)) {
        return Err(ToolFailure::Denied { permission: permission.clone() });
    }
    // The permit first: a call that finds no place must not use up the rate.
    let permit = run.account.tool(name, spec.in_flight).map_err(|limit| ToolFailure::Busy { limit })?;
    if let Some((max, window)) = spec.rate {
        take_rate(run, name, max, window).await?;
    }
    Ok((tool, permit))
}

async fn take_rate(run: &RunCore, name: &str, max: u64, window: Duration) -> Result<(), ToolFailure> {
    let limit = RateLimit { name: format!("tool:{name}"), max, window };
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

type Caught = Result<Result<Value, Error>, Box<dyn std::any::Any + Send>>;

/// The answer of a call, or `None` when its time was up.
async fn within(limit: Option<Duration>, call: impl Future<Output = Caught>) -> Option<Caught> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, call).await.ok(),
        None => Some(call.await),
    }
}

/// Says `tool_executing` when it is made and `tool_completed` when it goes, however it goes.
struct Guard {
    run: Arc<RunCore>,
    open: Open,
    said: bool,
}

impl Guard {
    /// Says that the call begins. A call that somebody outside can see begins only when that is durable.
    async fn open(run: &Arc<RunCore>, tool: &dyn Tool, site: &CallSite, arguments: &Value) -> Result<Self, Error> {
        let since = run.platform.clock.now();
        let open = Open::new(site.index, &site.name, since);
        let shown = events::show("the arguments", arguments).map_err(unspeakable)?;
        let said =
            ToolExecuting { call_id: &open.id, tool: &open.tool, arguments: &shown.shown, effect: tool.spec().effect };
        let event = events::event(EventType::ToolExecuting, since, &said);
        run.journal.add(event, shown.payload, |calls| calls.push(open.clone()));
        run.tool_called();
        let guard = Self { run: Arc::clone(run), open, said: false };
        if tool.spec().effect != Effect::Pure {
            run.durable().await?;
        }
        Ok(guard)
    }

    /// The guard of a call that has begun before the worker was lost. The run's journal knows it as open.
    fn take_over(run: &Arc<RunCore>, site: &CallSite) -> Self {
        let open = Open::new(site.index, &site.name, run.platform.clock.now());
        Self { run: Arc::clone(run), open, said: false }
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
        let result = shown.as_ref().map(|s| &*s.shown);
        let mut event = completed(&self.open, status, result, error.as_deref(), now);
        let (whole, payload) = shown.map_or((None, None), |s| (s.whole, s.payload));
        event.journal = whole.or(failure);
        self.said = true;
        self.run.history.ended(self.open.index);
        self.run.journal.add(event, payload, |calls| calls.retain(|call| call.id != self.open.id));
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.said {
            let event = aborted(&self.open, self.run.platform.clock.now());
            self.run.journal.add(event, None, |calls| calls.retain(|call| call.id != self.open.id));
        }
    }
}

/// The `tool_completed` that is owed for a call whose future was dropped or abandoned.
pub(crate) fn aborted(open: &Open, now: Timestamp) -> NewEvent {
    completed(open, ToolStatus::Aborted, None, Some("the call was stopped"), now)
}

fn completed(
    open: &Open,
    status: ToolStatus,
    result: Option<&RawValue>,
    error: Option<&str>,
    now: Timestamp,
) -> NewEvent {
    let duration_ms = events::millis(now.since(open.since));
    let said =
        ToolCompleted { call_id: &open.id, tool: &open.tool, index: open.index, status, result, error, duration_ms };
    events::event(EventType::ToolCompleted, now, &said)
}

/// A tool's error under the tool's name, whatever kind of error it returned.
fn own_words(tool: &str, error: Error) -> Error {
    match error {
        Error::Tool { tool: named, failure, cause } if named == tool => Error::Tool { tool: named, failure, cause },
        error => {
            let failure = ToolFailure::Failed { message: redact::message(&error.to_string()) };
            Error::Tool { tool: tool.to_owned(), failure, cause: Some(Box::new(error)) }
        }
    }
}

fn unspeakable(error: crate::Error) -> Error {
    Error::failed(error.to_string())
}
