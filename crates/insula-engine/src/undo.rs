//! Undoes what a failed or stopped run did and can undo, latest call first. It is in the log that it is being done, and how
//! far it went: after a crash it goes on where it was.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_agent::{Effect, Error, Reconciled, Resources, Result, Tool, ToolCall};
use insula_factory::BoundResources;
use insula_infra::{EventType, NewEvent, RawJson};
use serde_json::{Value, json};

use crate::{
    core::RunCore,
    events::{self, ToolCompleted, ToolExecuting, ToolStatus, Undoing},
    factory,
    machine::Ending,
    reconcile, redact,
    replay::{Recorded, Text, Undoable},
};

/// How long one undo may take, of a tool that has no time limit of its own.
const LIMIT: Duration = Duration::from_secs(60);

/// The calls of a run that can be undone, by their place in the order of calls.
#[derive(Debug, Default)]
pub(crate) struct Undoables(Mutex<BTreeMap<u32, Undoable>>);

impl Undoables {
    /// Those of a run that is resumed.
    pub(crate) fn of(recorded: &Recorded) -> Self {
        Self(Mutex::new(recorded.undoable.clone()))
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<u32, Undoable>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins. It is in doubt until it says what came of it.
    pub(crate) fn begins(&self, index: u32, tool: &str, arguments: RawJson) {
        let call = Undoable { tool: tool.to_owned(), arguments: Text(arguments), result: None };
        self.calls().insert(index, call);
    }

    /// A call took effect.
    pub(crate) fn done(&self, index: u32, result: RawJson) {
        if let Some(call) = self.calls().get_mut(&index) {
            call.result = Some(Text(result));
        }
    }

    /// A call had no effect.
    pub(crate) fn forget(&self, index: u32) {
        self.calls().remove(&index);
    }

    pub(crate) fn len(&self) -> usize {
        self.calls().len()
    }

    fn last(&self) -> Option<(u32, Undoable)> {
        self.calls().last_key_value().map(|(index, call)| (*index, call.clone()))
    }
}

/// Whether there is something to undo when a run ends like this.
pub(crate) fn is_owed(run: &RunCore, ending: &Ending) -> bool {
    !matches!(ending, Ending::Completed(_)) && run.undoables.len() > 0
}

/// The event that says that it is being done, with how the run ended.
pub(crate) fn begins(run: &RunCore, ending: &Ending) -> NewEvent {
    let said = Undoing { calls: run.undoables.len() };
    let mut event = events::event(EventType::AgentUndoing, run.platform.clock.now(), &said);
    event.journal = events::raw("the end", ending).ok();
    event
}

/// Undoes everything, latest call first. What cannot be undone is said and left.
///
/// # Errors
/// When the log cannot be written: whoever resumes the run goes on.
pub(crate) async fn all(run: &Arc<RunCore>) -> Result<(), insula_infra::Error> {
    run.journal.commit().await?;
    while let Some((index, call)) = run.undoables.last() {
        one(run, index, &call).await?;
        // Not before: whoever is dropped in the middle of it leaves it to the next one.
        run.undoables.forget(index);
    }
    Ok(())
}

async fn one(run: &Arc<RunCore>, index: u32, call: &Undoable) -> Result<(), insula_infra::Error> {
    let begun = run.platform.clock.now();
    let id = format!("u{index}");
    let undoes = events::shown(&json!({"undoes": format!("c{index}")}));
    let said =
        ToolExecuting { call_id: &id, tool: &call.tool, arguments: &undoes, effect: Effect::Compensable, undo: true };
    // After a crash in the middle it goes on, and is not said again.
    if !run.history.recorded().undoing.contains(&index) {
        run.journal.add_last(events::event(EventType::ToolExecuting, begun, &said));
    }
    run.journal.commit().await?;
    let answer = attempt(run, index, &id, call).await;
    let error = answer.err().map(|error| redact::message(&error.to_string()));
    let now = run.platform.clock.now();
    let said = ToolCompleted {
        call_id: &id,
        tool: &call.tool,
        index,
        status: if error.is_none() { ToolStatus::Ok } else { ToolStatus::Error },
        result: None,
        error: error.as_deref(),
        duration_ms: events::millis(now.since(begun)),
        undo: true,
        attempts: 1,
        spent: None,
    };
    run.journal.add_last(events::event(EventType::ToolCompleted, now, &said));
    run.journal.commit().await
}

async fn attempt(run: &Arc<RunCore>, index: u32, id: &str, call: &Undoable) -> Result<()> {
    let scope = run.context.scope();
    let tool =
        run.platform.tools.tool(scope, &call.tool).ok_or_else(|| Error::failed("the tool does not exist any more"))?;
    let limit = tool.spec().timeout.unwrap_or(LIMIT);
    let arguments = value(run, &call.arguments.0).await?;
    let undone = async {
        let result = match &call.result {
            Some(result) => value(run, &result.0).await?,
            None => match find_out(run, index, &*tool, arguments.clone()).await? {
                Some(result) => result,
                None => return Ok(()),
            },
        };
        tool.undo(tool_call(run, index, id, &call.tool), arguments.clone(), result).await
    };
    let late = || Error::failed(format!("it was not undone within {limit:?}"));
    tokio::time::timeout(limit, undone).await.unwrap_or_else(|_| Err(late()))
}

/// The result of a call that was interrupted, `None` when it had no effect.
async fn find_out(run: &Arc<RunCore>, index: u32, tool: &dyn Tool, arguments: Value) -> Result<Option<Value>> {
    let call = tool_call(run, index, &format!("c{index}"), &tool.spec().name);
    match reconcile::ask_tool(tool, call, arguments).await {
        Reconciled::Happened(result) => Ok(Some(result)),
        Reconciled::DidNotHappen => Ok(None),
        _ => Err(Error::failed("the call was interrupted, and whether there is something to undo is not known")),
    }
}

async fn value(run: &RunCore, text: &RawJson) -> Result<Value> {
    let read = factory::whole(&run.platform, run.context.scope(), text).await;
    read.map_err(|error| Error::caused("what was recorded of the call cannot be read", error))
}

/// The context of a call that comes after the run's end: what stopped the run does not stop it.
fn tool_call(run: &Arc<RunCore>, index: u32, id: &str, tool: &str) -> ToolCall {
    let context = run.context.detached();
    let bound = BoundResources::new(context.clone(), Arc::clone(run.class.name()), run.platform.ports.clone());
    let resources: Arc<dyn Resources> = Arc::new(bound);
    ToolCall::new(id.to_owned(), run.key(index, tool), context, resources)
}
