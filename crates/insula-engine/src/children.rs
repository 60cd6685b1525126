//! Runs that a run starts. A child is found again under the id that its place in its parent's order of calls gives it.

use std::{sync::Arc, time::Duration};

use insula_agent::{CallSite, Error, Result};
use insula_context::{CancelReason, Deadline, RunId};
use insula_infra::{EventType, PayloadHash, RunFilter, RunRecord, WaitFor};
use serde_json::Value;

use crate::{
    End, Error as EngineError, Outcome,
    afterwards::{self, StopWhenDropped},
    core::RunCore,
    driver::{self, Driven},
    events::{self, CallKind, Saying, Waiting, Why},
    giving_back::AGAIN,
    history::words,
    host,
    machine::{Ending, Phase},
    redact,
    replay::Past,
    waiting::resumed,
    waits::{self, Child, Said},
};

/// Runs another agent as a child, or finds out what came of it.
pub(crate) async fn call(run: &Arc<RunCore>, site: &CallSite, input: Value, within: Option<Duration>) -> Result<Value> {
    run.going_on()?;
    let said = match run.history.take(site, CallKind::Agent)? {
        Some(Past::Gave(result)) => return Ok(result),
        Some(Past::GivenUp) => std::future::pending().await,
        Some(Past::Waiting { .. }) => Said::Yes,
        _ => Said::NotYet,
    };
    let id = id(run, site)?;
    let mut look = if run.history.is_resumed() { Look::First } else { Look::Later };
    let outcome = loop {
        match begin(run, site, &id, look, (input.clone(), within)).await? {
            Begun::Here(outcome) => break outcome,
            Begun::Ended(outcome) => break charged(run, outcome),
            Begun::Elsewhere => break charged(run, elsewhere(run, site, &id, said).await?),
            Begun::LostSight => tokio::time::sleep(AGAIN).await,
        }
        look = Look::First;
    };
    settle(run, site, outcome, said)
}

/// What a child has spent that ended elsewhere, its parent has spent.
fn charged(run: &RunCore, outcome: Outcome) -> Outcome {
    for warning in run.meter.child_ended(&outcome.run, outcome.spent) {
        run.journal.say(EventType::BudgetWarning, &warning);
    }
    outcome
}

/// Records what came of a child.
fn settle(run: &RunCore, site: &CallSite, outcome: Outcome, said: Said) -> Result<Value> {
    let Outcome { end, spent, .. } = outcome;
    let back = (said == Said::Yes).then(|| (resumed(run, site.index, Why::Child), None));
    match end {
        End::Completed(result) => {
            let completed = host::completed(run, site, CallKind::Agent, &result, (!spent.is_zero()).then_some(spent))?;
            run.journal.add_all(back.into_iter().chain([completed]).collect(), None, |_| {});
            run.step_recorded();
            Ok(result)
        }
        end => {
            run.journal.add_all(back.into_iter().collect(), None, |_| {});
            let message = end.message().unwrap_or_default();
            Err(Error::Child { agent: site.name.clone(), reason: end.reason().to_owned(), message })
        }
    }
}

/// Whether the child may be there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    First,
    Later,
}

enum Begun {
    /// It ended here: what it has spent is counted.
    Here(Outcome),
    /// It has ended elsewhere.
    Ended(Outcome),
    /// It waits, or somebody else runs it.
    Elsewhere,
    /// Its log could not be written: it may not even exist.
    LostSight,
}

async fn begin(
    run: &Arc<RunCore>,
    site: &CallSite,
    id: &RunId,
    look: Look,
    (input, within): (Value, Option<Duration>),
) -> Result<Begun> {
    let _working = run.work();
    // What led to the child stands before it in the log.
    run.journal.flush();
    if look == Look::First
        && let Some(record) = known(run, site, id).await?
    {
        if !record.status.is_terminal() {
            return Ok(Begun::Elsewhere);
        }
        return outcome(run, id).await.map(Begun::Ended).map_err(unreadable);
    }
    let context = run.context.child_run(&site.name, id.clone()).map_err(|error| refused(site, &error.to_string()))?;
    let context = match within {
        Some(time) => context.narrow(Some(Deadline::after(time))).0,
        None => context,
    };
    match Box::pin(driver::child(run, context, &site.name, input)).await {
        Ok(Driven::Ended(outcome)) => Ok(Begun::Here(outcome)),
        Ok(Driven::Left(_)) => Ok(Begun::Elsewhere),
        // How the child ended, if it did, is not known here.
        Err(EngineError::Storage(_)) => Ok(Begun::LostSight),
        Err(error) => Err(refused(site, &error.to_string())),
    }
}

/// The child, if it was started before.
async fn known(run: &RunCore, site: &CallSite, id: &RunId) -> Result<Option<RunRecord>> {
    let found = loop {
        match run.platform.backend.runs.run(run.context.scope(), id).await {
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
            found => break found.map_err(|error| unreadable(error.into()))?,
        }
    };
    let Some(record) = found else { return Ok(None) };
    if *record.header.agent != *site.name {
        let kind = CallKind::Agent;
        return Err(run.history.diverge(words(kind, &record.header.agent), words(kind, &site.name), site.index));
    }
    Ok(Some(record))
}

/// Waits for a child that is not run by its parent's process. Whoever stops waiting stops the child; a parent that is
/// parked or handed over does not.
async fn elsewhere(run: &Arc<RunCore>, site: &CallSite, id: &RunId, said: Said) -> Result<Outcome> {
    let given_up = CancelReason::new("engine", "the run that it was started by does not wait for it any more");
    let stop = StopWhenDropped::new(&run.platform, run.context.scope(), id, given_up);
    let stop = Some(stop.while_held(run.journal.lease()));
    let mut stop = StopChild { run, stop };
    let child = Some(Child { run: id.clone(), agent: site.name.clone(), said });
    let wait = run.wait(site.index, waits::Waiting { reason: WaitFor::Child, until: None, child });
    let outcome = outcome(run, id).await;
    drop(wait);
    stop.stop.take().into_iter().for_each(StopWhenDropped::let_go);
    outcome.map_err(unreadable)
}

/// What came of a child. A store that does not answer is asked again: its silence is no end.
async fn outcome(run: &RunCore, id: &RunId) -> Result<Outcome, EngineError> {
    loop {
        match afterwards::outcome(&run.platform, run.context.scope(), id).await {
            // The run goes on elsewhere, and so does this.
            Err(EngineError::ShutDown) => std::future::pending().await,
            Err(error) if error.is_transient() => tokio::time::sleep(AGAIN).await,
            outcome => return outcome,
        }
    }
}

struct StopChild<'a> {
    run: &'a RunCore,
    stop: Option<StopWhenDropped>,
}

impl Drop for StopChild<'_> {
    fn drop(&mut self) {
        let Some(mut stop) = self.stop.take() else { return };
        if self.run.phase() == Phase::Left {
            return stop.let_go();
        }
        if let Some(reason) = self.run.context.cancellation().reason() {
            stop.because(reason);
        }
    }
}

/// Says of a run that is parked which children it waits for, where that is not in the log yet.
pub(crate) fn say_waiting(run: &RunCore, waits: &waits::Parked) -> Vec<Saying> {
    let unsaid = waits.iter().filter_map(|(index, waiting)| match &waiting.child {
        Some(child) if child.said == Said::NotYet => Some((*index, child)),
        _ => None,
    });
    let event = |(index, child): (u32, &Child)| {
        let said = Waiting {
            waiting_for: WaitFor::Child.as_str(),
            index,
            question: None,
            until: None,
            run_id: Some(&child.run),
            agent: Some(&child.agent),
        };
        (events::event(EventType::AgentWaiting, run.platform.clock.now(), &said), None)
    };
    unsaid.map(event).collect()
}

/// Stops all children of a run that ends and has, or may have, some that it does not run itself.
pub(crate) async fn stop_all(run: &RunCore, ending: &Ending) {
    // Those of a run that has always been here were stopped by whoever waited for them.
    if !run.history.was_claimed() || !run.history.is_resumed() {
        return;
    }
    let over = || CancelReason::new("engine", "the run that it was started by is over");
    let reason = match ending {
        Ending::Cancelled(reason) => reason.clone(),
        _ => over(),
    };
    let filter = RunFilter { parent: Some(run.context.run().clone()), ..RunFilter::default() };
    let scope = run.context.scope();
    match run.platform.backend.runs.request_cancel_all(scope, &filter, reason.clone()).await {
        Ok(children) => {
            for child in children {
                run.platform.live.cancel(scope, &child, reason.clone());
            }
            run.platform.background.wake.notify_one();
        }
        // They find out by themselves when they are claimed.
        Err(error) => tracing::warn!(run = %run.context.run(), %error, "children could not be stopped"),
    }
}

/// The id of a child: the same whenever the same call of the same run is made.
fn id(run: &RunCore, site: &CallSite) -> Result<RunId> {
    // A run that begins again does not find the children that failed it.
    let place = match run.history.recorded().retries {
        0 => format!("{}/{}", run.context.run(), site.index),
        retries => format!("{}/{}/{retries}", run.context.run(), site.index),
    };
    let hash = PayloadHash::of(place.as_bytes()).to_string();
    RunId::new(&hash[..32]).map_err(|error| Error::failed(error.to_string()))
}

fn refused(site: &CallSite, message: &str) -> Error {
    let message = redact::message(message);
    Error::Child { agent: site.name.clone(), reason: "refused".to_owned(), message }
}

fn unreadable(error: EngineError) -> Error {
    let transient = error.is_transient();
    let message = "what was recorded cannot be read".to_owned();
    Error::Storage { operation: "log", message, transient, cause: Some(Box::new(error)) }
}
