//! The only way to call a tool: scope, permission, limits, events, journal, in that order.

use std::{sync::Arc, time::Duration};

use insula_agent::{CallSite, Effect, Error, Reconciled, Resources, Tool, ToolCall, ToolFailure, ToolSpec};
use insula_context::{Amounts, Timestamp};
use insula_infra::{EventType, NewEvent, RateLimit, Taken};
use serde_json::{Value, value::RawValue};
use tracing::{Instrument, Span};

use crate::{
    AuditEntry,
    attempts::{self, Admitted, Caught},
    budget::{Charge, Charged, Hold, Settled},
    core::RunCore,
    events::{self, CallKind, Saying, Shown, ToolCompleted, ToolExecuting, ToolStatus},
    journal::Open,
    limits::ToolPermit,
    reconcile::{self, Verdict},
    redact,
    replay::{Asked, Past},
    spans,
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
    let (admitted, cost) = attempts::admit(run, site).await.map_err(|failure| refuse(run, site, failure))?;
    let guard = Guard::open(run, admitted.tool.as_ref(), site, &arguments).await?;
    carry_out(guard, admitted, cost, resources, arguments).await
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
    let (admitted, cost) = match attempts::admit(run, site).await {
        Ok(admitted) => admitted,
        // The guard says that the call was stopped.
        Err(failure @ ToolFailure::Stopped { .. }) => return Err(refuse(run, site, failure)),
        Err(failure) => {
            refuse(run, site, failure.clone());
            return guard.fail(failure);
        }
    };
    guard.effect = admitted.tool.spec().effect;
    if guard.effect != Effect::Pure {
        run.durable().await?;
    }
    carry_out(guard, admitted, cost, resources, arguments).await
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
    mut guard: Guard,
    admitted: Admitted,
    cost: (Hold, Charged),
    resources: Arc<dyn Resources>,
    arguments: Value,
) -> Result<Value, Error> {
    let call = guard.tool_call(&resources);
    guard.charge = Some(Charge::new(cost, call.spent_so_far().clone()));
    let limit = admitted.tool.spec().timeout;
    guard.span = spans::execute_tool(&guard.run, &guard.open.tool, &guard.open.id);
    let made = admitted.make(&guard.run, &call, arguments).instrument(guard.span.clone());
    let (answer, attempts) = made.await;
    guard.attempts = attempts;
    guard.close(answer, limit)
}

/// The tool of this name, for a run that may still call one.
pub(crate) fn find(run: &RunCore, name: &str) -> Result<Arc<dyn Tool>, ToolFailure> {
    let (platform, scope) = (&run.platform, run.context.scope());
    if run.going_on().is_err() || run.journal.failure().is_some() {
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
    effect: Effect,
    /// What the call costs, until that is booked. A call that was not made costs nothing.
    charge: Option<Charge>,
    attempts: u32,
    said: bool,
    /// What a tracer is told of it, once it is made.
    span: Span,
}

impl Guard {
    /// Says that the call begins. A call that somebody outside can see begins only when that is durable.
    async fn open(run: &Arc<RunCore>, tool: &dyn Tool, site: &CallSite, arguments: &Value) -> Result<Self, Error> {
        let since = run.platform.clock.now();
        let open = run.history.recorded().call(site.index, &site.name, since);
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
        let guard =
            Self { run: Arc::clone(run), open, effect, charge: None, attempts: 1, said: false, span: Span::none() };
        if effect != Effect::Pure {
            run.durable().await?;
        }
        Ok(guard)
    }

    /// The guard of a call that has begun before the worker was lost. The run's journal knows it as open.
    fn take_over(run: &Arc<RunCore>, site: &CallSite, effect: Effect) -> Self {
        let open = run.history.recorded().call(site.index, &site.name, run.platform.clock.now());
        Self { run: Arc::clone(run), open, effect, charge: None, attempts: 1, said: false, span: Span::none() }
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
        spans::answered(&self.span, status, result.as_ref().err());
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
        self.remember(status, shown.as_ref());
        let (whole, payload) = shown.map_or((None, None), |s| (s.whole, s.payload));
        event.journal = whole.or(failure);
        self.said = true;
        let closes = before.as_ref().map(|_| self.open.index);
        let said = before.map(|event| (event, None)).into_iter().chain([(event, payload)]);
        self.write(said, closes, settled);
        Ok(())
    }

    fn settle(&mut self, bytes: usize, now: Timestamp) -> Settled {
        self.charge.take().map_or_else(Settled::default, |charge| charge.settle(&self.open, bytes, now))
    }

    /// The end of the call, its cost and what is to be said of that are one append.
    fn write(&self, said: impl Iterator<Item = Saying>, closes: Option<u32>, settled: Settled) {
        let said = said.chain(settled.warnings.into_iter().map(|warning| (warning, None))).collect();
        self.run.journal.settle(said, closes, settled.spent, |calls| calls.retain(|call| call.id != self.open.id));
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
            spans::answered(&self.span, ToolStatus::Aborted, None);
            let now = self.run.platform.clock.now();
            let settled = self.settle(0, now);
            let ended = Ended { spent: settled.reported, ..Ended::stopped(ToolStatus::Aborted) };
            self.write(std::iter::once((completed(&self.open, ended, now), None)), None, settled);
        }
    }
}

/// The `tool_completed` that is owed for a call whose future was dropped or abandoned.
pub(crate) fn aborted(open: &Open, status: ToolStatus, now: Timestamp) -> NewEvent {
    completed(open, Ended::stopped(status), now)
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
    const fn stopped(status: ToolStatus) -> Self {
        let words = match status {
            ToolStatus::Abandoned => "the call was stopped, did not end, and was abandoned",
            _ => "the call was stopped",
        };
        Self { status, result: None, error: Some(words), attempts: 1, spent: None }
    }
}

fn completed(open: &Open, ended: Ended<'_>, now: Timestamp) -> NewEvent {
    let Ended { status, result, error, attempts, spent } = ended;
    let duration_ms = events::millis(now.since(open.since));
    let (call_id, tool, index, undo) = (&*open.id, &*open.tool, open.index, false);
    let said = ToolCompleted { call_id, tool, index, status, result, error, attempts, spent, duration_ms, undo };
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
