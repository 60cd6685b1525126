//! Takes a file in: its runs become runs of whoever imports it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::future::join_all;
use insula_context::{CancelReason, RunId, ThreadId, UserScope};
use insula_infra::{
    Append, EventType, FailReason, Failure, Lease, NewEvent, NewRun, Payload, PayloadHash, RawJson, RunChange,
    RunHeader, WorkerId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Archive, ArchivedRun, lines::references};
use crate::{Error, ExecutionEngineFactory, events};

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The run that was exported.
    pub run_id: RunId,
    /// The thread that it is in now.
    pub thread_id: ThreadId,
    /// How many runs came, children included.
    pub runs: u64,
    /// How many events.
    pub events: u64,
}

impl ExecutionEngineFactory {
    /// Takes an archive's runs in as this user's own, under their ids, in a thread of the user's or in a fresh one. Whose
    /// they were makes no difference. They have ended, so nothing of them runs.
    ///
    /// Each run is one append, the parent first: in its new thread, a child's events follow its parent's. What came of
    /// two runs at the same time is not lost, because every event keeps its time.
    ///
    /// # Errors
    /// [`insula_infra::Error::RunExists`] when the user has a run of one of these ids: nothing was taken in then, unless
    /// it came at the same moment. [`Error::Storage`].
    pub async fn import(
        &self,
        scope: &UserScope,
        archive: &Archive,
        thread: Option<ThreadId>,
    ) -> Result<Imported, Error> {
        let platform = &self.platform;
        let thread = thread.unwrap_or_else(|| ThreadId::generate(&*platform.ids));
        let mut appends = Vec::with_capacity(archive.runs.len());
        for member in &archive.runs {
            if platform.backend.runs.run(scope, &member.run).await?.is_some() {
                return Err(insula_infra::Error::RunExists { run: member.run.clone() }.into());
            }
            appends.push(append(scope, &thread, archive, member, &platform.worker)?);
        }
        let commits: Vec<_> = appends.into_iter().map(|append| platform.backend.queue.append(append)).collect();
        for committed in join_all(commits).await {
            committed?;
        }
        let events = archive.runs.iter().map(|member| member.events.len() as u64).sum();
        Ok(Imported { run_id: archive.run().clone(), thread_id: thread, runs: archive.runs.len() as u64, events })
    }
}

fn append(
    scope: &UserScope,
    thread: &ThreadId,
    archive: &Archive,
    member: &ArchivedRun,
    worker: &WorkerId,
) -> Result<Append, Error> {
    let header = Arc::new(RunHeader {
        scope: scope.clone(),
        thread: thread.clone(),
        run: member.run.clone(),
        parent: member.parent.clone(),
        agent: Arc::clone(&member.agent),
    });
    let (input, version) = (Arc::clone(&member.input), Arc::clone(&member.version));
    let new = NewRun {
        payload: events::reference(&member.input).and_then(|hash| archive.payloads.get(&hash).cloned()),
        ..NewRun::new(Arc::clone(&header), version, input, member.created_at)
    };
    Ok(Append {
        // It is never held: it ends in the write that creates it.
        create: Some((new, std::time::Duration::ZERO)),
        events: member.events.clone(),
        change: Some(member.end()?),
        payloads: payloads(&archive.payloads, &member.events),
        ..Append::new(Lease { header, worker: worker.clone(), token: 1 }, 0)
    })
}

/// The payloads that these events refer to, each once.
fn payloads(kept: &HashMap<PayloadHash, Payload>, events: &[NewEvent]) -> Vec<Payload> {
    let mut seen = HashSet::new();
    let hashes = events.iter().flat_map(|event| references(&event.data).unwrap_or_default());
    hashes.filter(|hash| seen.insert(*hash)).filter_map(|hash| kept.get(&hash).cloned()).collect()
}

#[derive(Deserialize)]
struct Completed {
    result: RawJson,
}

#[derive(Deserialize)]
struct Failed {
    reason: String,
    message: String,
}

#[derive(Deserialize)]
struct Cancelled {
    by: String,
    why: String,
}

/// What a run's last event makes of it.
///
/// # Errors
/// In words, when it says nothing of the kind.
pub(crate) fn ending(event: &NewEvent) -> Result<RunChange, String> {
    match event.kind {
        EventType::AgentCompleted => parse(event).map(|Completed { result }| RunChange::Completed { result }),
        EventType::AgentFailed => parse(event).and_then(failed),
        EventType::AgentCancelled => {
            parse(event).map(|Cancelled { by, why }| RunChange::Cancelled(CancelReason { by, why }))
        }
        kind => Err(format!("{kind} is no end")),
    }
}

fn failed(Failed { reason, message }: Failed) -> Result<RunChange, String> {
    let known = FailReason::parse(&reason).ok_or_else(|| format!("\"{reason}\" is no reason"))?;
    Ok(RunChange::Failed(Failure { reason: known, message }))
}

fn parse<T: DeserializeOwned>(event: &NewEvent) -> Result<T, String> {
    serde_json::from_str(event.data.get()).map_err(|error| error.to_string())
}
