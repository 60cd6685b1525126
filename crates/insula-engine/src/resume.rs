//! How a run goes on that was taken from the queue: what is read before it starts.

use insula_infra::{Claimed, RunChange};
use insula_registry::AgentClass;
use serde_json::Value;

use crate::{
    Error, factory,
    options::RunOptions,
    platform::Platform,
    redact,
    replay::{Past, Recorded},
};

/// What a claimed run is started with.
#[derive(Default)]
pub(crate) struct Restored {
    pub input: Value,
    pub recorded: Recorded,
    pub options: RunOptions,
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
    match RunOptions::read(claimed.options.as_ref()) {
        Ok(options) => restored.options = options,
        Err(problem) => restored.problem = Some(problem),
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

/// A child that was taken over is stopped when its parent is to be stopped; or is over, for one that was created by a worker
/// that did not know so: the others were asked to stop by the store.
pub(crate) async fn heed_parent(platform: &Platform, claimed: &mut Claimed) -> Result<(), Error> {
    let header = &claimed.lease.header;
    let Some(parent) = &header.parent else { return Ok(()) };
    let Some(parent) = platform.backend.runs.run(&header.scope, parent).await? else { return Ok(()) };
    if parent.cancel.is_some() || parent.status.is_terminal() {
        claimed.run.cancel.get_or_insert_with(|| parent.cancel.unwrap_or_else(RunChange::orphaned));
    }
    Ok(())
}
