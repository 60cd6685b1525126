//! The only way to call a tool: scope, permission, limits, events, journal, in that order.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use insula_agent::{CallSite, Effect, Error, Reconciled, Resources, Tool, ToolCall, ToolFailure};
use insula_context::Timestamp;
use insula_infra::{EventType, NewEvent, RateLimit, Taken};
use serde_json::{Value, value::RawValue};

use crate::{
    AuditEntry,
    core::RunCore,
    events::{self, CallKind, Shown, ToolCompleted, ToolExecuting, ToolStatus},
    journal::Open,
    limits::ToolPermit,
    reconcile::{self, Verdict},
    redact,
    replay::{Asked, Past},
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
        Some(Past::Executing { effect, asked }) => again(run, resources, site, arguments, (effect, asked)).await,
        _ => first(run, resources, site, arguments).await,
    }
}

async fn first(
    run: &Arc<RunCore>,
    resources: Arc<dyn Resources>,
    site: &CallSite,
    arguments: Value,
) -> Result<Value, Error> {
    let _working = run.work();
    let (tool, permit) = admit(run, &site.name).await.map_err(|failure| refuse(run, site, failure))?;
    let guard = Guard::open(run, tool.as_ref(), site, &arguments).await?;
    carry_out(guard, (tool, permit), resources, arguments).await
}

/// A call whose worker was lost meanwhile. It is repeated where both then and now the tool says that it may be; else
/// somebody has to say first whether it took effect.
async fn again(
    run: &Arc<RunCore>,
    resources: Arc<dyn Resources>,
    site: &CallSite,
    arguments: Value,
    (effect, asked): (Effect, Asked),
) -> Result<Value, Error> {
    let mut guard = Guard::take_over(run, site, effect);
    let tool = run.platform.tools.tool(run.context.scope(), &site.name);
    let repeatable = is_repeatable(effect) && tool.as_ref().is_none_or(|tool| is_repeatable(tool.spec().effect));
    if !repeatable {
        match find_out(&guard, tool.as_deref(), &resources, site, &arguments, asked).await? {
            Found::Happened { result, resumed } => return guard.happened(result, resumed),
            Found::DidNotHappen => {}
        }
    }
    let _working = run.work();
    let (tool, permit) = match admit(run, &site.name).await {
        Ok(admitted) => admitted,
        // The guard says that the call was stopped.
        Err(failure @ ToolFailure::Stopped { .. }) => return Err(refuse(run, site, failure)),
        Err(failure) => {
            refuse(run, site, failure.clone());
            return guard.fail(failure);
        }
    };
    guard.effect = tool.spec().effect;
    if tool.spec().effect != Effect::Pure {
        run.durable().await?;
    }
    carry_out(guard, (tool, permit), resources, arguments).await
}

/// What became of an interrupted call.
enum Found {
    Happened { result: Value, resumed: Option<NewEvent> },
    DidNotHappen,
}

/// Asks the tool, and then a human.
async fn find_out(
    guard: &Guard,
    tool: Option<&dyn Tool>,
    resources: &Arc<dyn Resources>,
    site: &CallSite,
    arguments: &Value,
    asked: Asked,
) -> Result<Found, Error> {
    let run = &guard.run;
    let known = match tool.filter(|_| asked == Asked::No) {
        Some(tool) => {
            let _working = run.work();
            reconcile::ask_tool(tool, guard.tool_call(resources), arguments.clone()).await
        }
        None => Reconciled::Unknown,
    };
    match known {
        Reconciled::Happened(result) => return Ok(Found::Happened { result, resumed: None }),
        Reconciled::DidNotHappen => return Ok(Found::DidNotHappen),
        _ => {}
    }
    Ok(match reconcile::ask(run, site, &format!("the tool \"{}\"", site.name), asked).await? {
        Verdict::Happened { result, resumed } => Found::Happened { result, resumed: Some(resumed) },
        Verdict::DidNotHappen => Found::DidNotHappen,
    })
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
    let call = guard.tool_call(&resources);
    let limit = tool.spec().timeout;
    let answer = within(limit, AssertUnwindSafe(tool.call(call, arguments)).catch_unwind()).await;
    drop(permit);
    guard.close(answer, limit)
}

/// Everything that may refuse a call, before anything happens.
async fn admit(run: &Arc<RunCore>, name: &str) -> Result<(Arc<dyn Tool>, ToolPermit), ToolFailure> {
    let (platform, scope) = (&run.platform, run.context.scope());
    if run.going_on().is_err() || run.journal.failure().is_some() {
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
    effect: Effect,
    said: bool,
}

impl Guard {
    /// Says that the call begins. A call that somebody outside can see begins only when that is durable.
    async fn open(run: &Arc<RunCore>, tool: &dyn Tool, site: &CallSite, arguments: &Value) -> Result<Self, Error> {
        let since = run.platform.clock.now();
        let open = Open::new(site.index, &site.name, since);
        let shown = events::show("the arguments", arguments).map_err(unspeakable)?;
        let said = ToolExecuting {
            call_id: &open.id,
            tool: &open.tool,
            arguments: &shown.shown,
            effect: tool.spec().effect,
            undo: false,
        };
        let mut event = events::event(EventType::ToolExecuting, since, &said);
        let effect = tool.spec().effect;
        if effect == Effect::Compensable {
            run.undoables.begins(
                site.index,
                &site.name,
                shown.whole.clone().unwrap_or_else(|| Arc::clone(&shown.shown)),
            );
            event.journal = shown.whole;
        }
        if !run.journal.add(event, shown.payload, |calls| calls.push(open.clone())) {
            run.undoables.forget(site.index);
            return Err(Error::Stopped { why: "the run is over".to_owned() });
        }
        run.tool_called();
        let guard = Self { run: Arc::clone(run), open, effect, said: false };
        if effect != Effect::Pure {
            run.durable().await?;
        }
        Ok(guard)
    }

    /// The guard of a call that has begun before the worker was lost. The run's journal knows it as open.
    fn take_over(run: &Arc<RunCore>, site: &CallSite, effect: Effect) -> Self {
        let open = Open::new(site.index, &site.name, run.platform.clock.now());
        Self { run: Arc::clone(run), open, effect, said: false }
    }

    fn tool_call(&self, resources: &Arc<dyn Resources>) -> ToolCall {
        let Open { id, index, tool, .. } = &self.open;
        ToolCall::new(id.clone(), self.run.key(*index, tool), self.run.context.clone(), Arc::clone(resources))
    }

    /// Says that the call took effect before the worker was lost.
    fn happened(mut self, result: Value, resumed: Option<NewEvent>) -> Result<Value, Error> {
        let result = Ok(result);
        self.say(ToolStatus::Ok, &result, resumed)?;
        result
    }

    /// Says that the call has failed without having been made.
    fn fail(mut self, failure: ToolFailure) -> Result<Value, Error> {
        let failed = Err(Error::Tool { tool: self.open.tool.clone(), failure, cause: None });
        self.say(ToolStatus::Error, &failed, None)?;
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
        self.say(status, &result, None)?;
        result
    }

    /// Says what came of the call, and before it why it is known, if that is a story of its own.
    fn say(
        &mut self,
        status: ToolStatus,
        result: &Result<Value, Error>,
        before: Option<NewEvent>,
    ) -> Result<(), Error> {
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
        self.remember(status, shown.as_ref());
        let (whole, payload) = shown.map_or((None, None), |s| (s.whole, s.payload));
        event.journal = whole.or(failure);
        self.said = true;
        let closes = before.as_ref().map(|_| self.open.index);
        let said = before.map(|event| (event, None)).into_iter().chain([(event, payload)]).collect();
        self.run.journal.add_all(said, closes, |calls| calls.retain(|call| call.id != self.open.id));
        Ok(())
    }

    /// Keeps what it takes to undo the call. One that was stopped stays in doubt; one that failed says that it had no
    /// effect.
    fn remember(&self, status: ToolStatus, shown: Option<&Shown>) {
        if self.effect != Effect::Compensable {
            return;
        }
        match (status, shown) {
            (ToolStatus::Ok, Some(Shown { shown, whole, .. })) => {
                self.run.undoables.done(self.open.index, Arc::clone(whole.as_ref().unwrap_or(shown)));
            }
            (ToolStatus::Error, _) => self.run.undoables.forget(self.open.index),
            _ => {}
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.said {
            let event = aborted(&self.open, ToolStatus::Aborted, self.run.platform.clock.now());
            self.run.journal.add(event, None, |calls| calls.retain(|call| call.id != self.open.id));
        }
    }
}

/// The `tool_completed` that is owed for a call whose future was dropped or abandoned.
pub(crate) fn aborted(open: &Open, status: ToolStatus, now: Timestamp) -> NewEvent {
    let words = match status {
        ToolStatus::Abandoned => "the call was stopped, did not end, and was abandoned",
        _ => "the call was stopped",
    };
    completed(open, status, None, Some(words), now)
}

fn completed(
    open: &Open,
    status: ToolStatus,
    result: Option<&RawValue>,
    error: Option<&str>,
    now: Timestamp,
) -> NewEvent {
    let duration_ms = events::millis(now.since(open.since));
    let said = ToolCompleted {
        call_id: &open.id,
        tool: &open.tool,
        index: open.index,
        status,
        result,
        error,
        duration_ms,
        undo: false,
    };
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
