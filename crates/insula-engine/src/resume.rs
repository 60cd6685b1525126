//! How a run goes on after its worker was lost: what is read before it starts, and what became of its children.

use std::sync::{Arc, atomic::Ordering};

use insula_agent::{CallSite, Error as AgentError};
use insula_context::{Amounts, CancelReason, RunId};
use insula_infra::{Claimed, EventType, RunRecord, RunStatus};
use insula_registry::AgentClass;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{
    End, Error, EventStream,
    core::RunCore,
    events::CallKind,
    factory,
    history::words,
    platform::Platform,
    redact,
    replay::{Past, Recorded},
};

/// What a claimed run is started with.
#[derive(Default)]
pub(crate) struct Restored {
    pub input: Value,
    pub recorded: Recorded,
    /// Why it cannot be run, for good.
    pub problem: Option<String>,
}

/// Reads a claimed run's input and its past. An error may pass: the run is claimed again then.
pub(crate) async fn restore(platform: &Platform, claimed: &Claimed) -> Result<Restored, Error> {
    let mut restored = Restored::default();
    let header = &claimed.lease.header;
    match lasting(factory::whole(platform, &header.scope, &claimed.run.input).await)? {
        Ok(input) => restored.input = input,
        Err(problem) => restored.problem = Some(format!("the stored input cannot be read: {problem}")),
    }
    if claimed.run.events == 0 {
        return Ok(restored);
    }
    let entries = platform.backend.queue.journal(&claimed.lease).await?;
    match Recorded::read(&entries) {
        Ok(recorded) => restored.recorded = recorded,
        Err(problem) => restored.problem = Some(problem),
    }
    for call in restored.recorded.calls.values_mut() {
        let Past::GaveLarge(hash) = &call.past else { continue };
        match lasting(factory::payload(platform, &header.scope, hash).await)? {
            Ok(value) => call.past = Past::Gave(value),
            Err(problem) => restored.problem = Some(format!("a recorded result cannot be read: {problem}")),
        }
    }
    Ok(restored)
}

/// The inner error is for good, the outer one may pass.
fn lasting<T>(answer: Result<T, Error>) -> Result<Result<T, String>, Error> {
    match answer {
        Err(error) if error.is_transient() => Err(error),
        answer => Ok(answer.map_err(|error| redact::message(&error.to_string()))),
    }
}

/// Why a run that was started on one version of its class is not resumed on this one.
pub(crate) fn outdated(class: &AgentClass, recorded: &Recorded) -> Option<String> {
    let started = recorded.version.as_deref().filter(|version| *version != &**class.version())?;
    let (name, here) = (class.name(), class.version());
    Some(format!("the run was started on version \"{started}\" of \"{name}\", and version \"{here}\" is here now"))
}

/// A child that was taken over is stopped when its parent is over, or is to be stopped.
pub(crate) async fn heed_parent(platform: &Platform, claimed: &mut Claimed) -> Result<(), Error> {
    let header = &claimed.lease.header;
    let Some(parent) = &header.parent else { return Ok(()) };
    let Some(parent) = platform.backend.runs.run(&header.scope, parent).await? else { return Ok(()) };
    if parent.cancel.is_some() || parent.status.is_terminal() {
        let over = || CancelReason::new("engine", "the run that it was started by is over");
        claimed.run.cancel.get_or_insert_with(|| parent.cancel.unwrap_or_else(over));
    }
    Ok(())
}

/// The end of a child that was started before the worker was lost; `None` when there is none. One that has not ended
/// was taken over by itself, and is waited for.
pub(crate) async fn child(run: &Arc<RunCore>, site: &CallSite, id: &RunId) -> Result<Option<End>, AgentError> {
    if !run.history.is_resumed() {
        return Ok(None);
    }
    // Before the first look: a parent that is stopped meanwhile takes its child with it.
    let mut stop = StopChild { run, id, runtime: Handle::current(), waits: true };
    let found = look(run, id).await?;
    stop.waits = found.as_ref().is_some_and(|record| !record.status.is_terminal());
    let Some(mut record) = found else { return Ok(None) };
    if *record.header.agent != *site.name {
        let kind = CallKind::Agent;
        return Err(run.history.diverge(words(kind, &record.header.agent), words(kind, &site.name), site.index));
    }
    if !record.status.is_terminal() {
        record = ended(run, id).await?;
        stop.waits = false;
    }
    end(run, site, record).await.map(Some)
}

/// What a child has spent that ran without its parent. The parent has spent it as well.
pub(crate) async fn spent(run: &Arc<RunCore>, child: &RunId) -> Result<Amounts, AgentError> {
    let entries = run.platform.backend.queue.recorded(run.context.scope(), child).await;
    let entries = entries.map_err(|error| unreadable(error.into()))?.unwrap_or_default();
    let spent = Recorded::read(&entries).map_err(AgentError::failed)?.spent;
    for warning in run.meter.spend(spent) {
        run.journal.say(EventType::BudgetWarning, &warning);
    }
    Ok(spent)
}

async fn look(run: &RunCore, id: &RunId) -> Result<Option<RunRecord>, AgentError> {
    let found = run.platform.backend.runs.run(run.context.scope(), id).await;
    found.map_err(|error| unreadable(error.into()))
}

async fn ended(run: &Arc<RunCore>, id: &RunId) -> Result<RunRecord, AgentError> {
    let (scope, backend) = (run.context.scope(), &run.platform.backend);
    let _elsewhere = Elsewhere::new(run);
    let events = EventStream::run(backend, scope, id, 0).await.map_err(unreadable)?;
    if let Some(mut events) = events {
        while events.next().await.map_err(unreadable)?.is_some() {}
    }
    look(run, id).await?.ok_or_else(|| AgentError::failed("the child is not kept any more"))
}

async fn end(run: &RunCore, site: &CallSite, record: RunRecord) -> Result<End, AgentError> {
    let gone = || AgentError::failed(format!("what came of the agent \"{}\" is not kept", site.name));
    match record.status {
        RunStatus::Completed => {
            let result = record.result.ok_or_else(gone)?;
            let result = factory::whole(&run.platform, run.context.scope(), &result).await.map_err(unreadable)?;
            if redact::is_redacted(&result) {
                // Its record shows it without its secrets, and an incomplete result must not pass for a whole one.
                return Err(AgentError::Child {
                    agent: site.name.clone(),
                    reason: "lost".to_owned(),
                    message: "its result had secrets in it, and was lost with the process that it was for".to_owned(),
                });
            }
            Ok(End::Completed(result))
        }
        RunStatus::Cancelled => record.cancel.map(End::Cancelled).ok_or_else(gone),
        _ => record.failure.map(End::Failed).ok_or_else(gone),
    }
}

fn unreadable(error: Error) -> AgentError {
    let transient = error.is_transient();
    let message = "what was recorded cannot be read".to_owned();
    AgentError::Storage { operation: "log", message, transient, cause: Some(Box::new(error)) }
}

/// A run that waits for a child elsewhere takes no room: the child may need it.
struct Elsewhere<'a>(&'a RunCore);

impl<'a> Elsewhere<'a> {
    fn new(run: &'a RunCore) -> Self {
        // The run has one place, however many children it waits for.
        if run.history.waits_elsewhere() {
            run.platform.background.claimed.fetch_sub(1, Ordering::AcqRel);
            run.platform.background.wake.notify_one();
        }
        Self(run)
    }
}

impl Drop for Elsewhere<'_> {
    fn drop(&mut self) {
        if self.0.history.is_back() {
            self.0.platform.background.claimed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Stops the child when its parent does not wait for it any more.
struct StopChild<'a> {
    run: &'a RunCore,
    id: &'a RunId,
    runtime: Handle,
    waits: bool,
}

impl Drop for StopChild<'_> {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        let given_up = || CancelReason::new("engine", "the run that it was started by does not wait for it any more");
        let reason = self.run.context.cancellation().reason().unwrap_or_else(given_up);
        let (platform, scope, id) = (Arc::clone(&self.run.platform), self.run.context.scope().clone(), self.id.clone());
        self.runtime.spawn(async move {
            if let Err(error) = factory::cancel(&platform, &scope, &id, reason).await {
                tracing::warn!(run = %id, %error, "a child could not be stopped");
            }
        });
    }
}
