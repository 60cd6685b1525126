//! What came of a run that is not run here (any more): its end is in the log, wherever it was written.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use insula_context::{CancelReason, RunId, UserScope};
use insula_infra::{Event, EventType, Failure, Lease, RawJson};
use serde::Deserialize;
use tokio::runtime::Handle;

use crate::{
    End, Error, EventStream, Outcome, StreamItem, Usage, factory, giving_back, platform::Platform, replay::Recorded,
};

/// How often somebody who waits looks whether the process is to end.
const LOOK: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct Completed {
    result: RawJson,
    #[serde(default)]
    usage: Usage,
}

#[derive(Deserialize)]
struct Took {
    duration_ms: f64,
}

/// Waits for the end of a run. Cancellation safe.
///
/// # Errors
/// [`Error::ShutDown`] when this process ends before: the run goes on elsewhere. [`Error::Storage`].
pub(crate) async fn outcome(platform: &Platform, scope: &UserScope, run: &RunId) -> Result<Outcome, Error> {
    let gone = || Error::Storage(insula_infra::Error::RunEnded { run: run.clone() });
    let mut events = EventStream::run(&platform.backend, scope, run, 0).await?.ok_or_else(gone)?;
    let mut last: Option<Event> = None;
    loop {
        match tokio::time::timeout(LOOK, events.next()).await {
            Ok(Ok(Some(StreamItem::Event(event)))) => last = Some(event),
            Ok(Ok(Some(StreamItem::Gap { .. }))) => {}
            Ok(Ok(None)) => break,
            Ok(Err(error)) if error.is_transient() => tokio::time::sleep(LOOK).await,
            Ok(Err(error)) => return Err(error),
            Err(_) if platform.background.closed.load(Ordering::Acquire) => return Err(Error::ShutDown),
            Err(_) => {}
        }
    }
    let last = last.filter(|event| event.kind.is_terminal()).ok_or_else(gone)?;
    read(platform, scope, &last).await
}

async fn read(platform: &Platform, scope: &UserScope, last: &Event) -> Result<Outcome, Error> {
    let json = |error: serde_json::Error| Error::Json { what: "the run's end", problem: error.to_string() };
    let mut usage = Usage::default();
    let recorded = platform.backend.queue.recorded(scope, &last.header.run).await?.unwrap_or_default();
    let spent = Recorded::read(&recorded).map(|recorded| recorded.spent).unwrap_or_default();
    let end = match last.kind {
        EventType::AgentCompleted => {
            let said: Completed = last.data().map_err(json)?;
            usage = said.usage;
            // With what readers do not see.
            let whole = recorded.last().and_then(|entry| entry.journal.clone());
            let result = whole.unwrap_or(said.result);
            End::Completed(factory::whole(platform, scope, &result).await?)
        }
        EventType::AgentCancelled => End::Cancelled(last.data::<CancelReason>().map_err(json)?),
        _ => End::Failed(last.data::<Failure>().map_err(json)?),
    };
    let Took { duration_ms } = last.data().map_err(json)?;
    Ok(Outcome {
        run: last.header.run.clone(),
        thread: last.header.thread.clone(),
        agent: last.header.agent.to_string(),
        end,
        usage,
        spent,
        duration: Duration::from_secs_f64(duration_ms.max(0.0) / 1e3),
    })
}

/// Stops a run that is not run here when whoever waits for it goes.
pub(crate) struct StopWhenDropped {
    platform: Arc<Platform>,
    scope: UserScope,
    run: RunId,
    reason: CancelReason,
    /// Who stops it may do so only while it holds this.
    by: Option<Lease>,
    runtime: Handle,
    waits: bool,
}

impl StopWhenDropped {
    /// Needs a tokio runtime.
    pub(crate) fn new(platform: &Arc<Platform>, scope: &UserScope, run: &RunId, reason: CancelReason) -> Self {
        let (platform, runtime) = (Arc::clone(platform), Handle::current());
        Self { platform, scope: scope.clone(), run: run.clone(), reason, by: None, runtime, waits: true }
    }

    /// Nobody waits any more, and the run goes on.
    pub(crate) fn let_go(mut self) {
        self.waits = false;
    }

    /// It is stopped only if whoever holds this lease still does.
    pub(crate) fn while_held(mut self, lease: &Lease) -> Self {
        self.by = Some(lease.clone());
        self
    }

    /// Why it is stopped from now on.
    pub(crate) fn because(&mut self, reason: CancelReason) {
        self.reason = reason;
    }
}

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        if !self.waits {
            return;
        }
        let (platform, scope, run) = (Arc::clone(&self.platform), self.scope.clone(), self.run.clone());
        let (reason, by) = (self.reason.clone(), self.by.take());
        self.runtime.spawn(async move {
            if let Some(lease) = by
                && !giving_back::holds(&*platform.backend.queue, &lease).await
            {
                return;
            }
            if let Err(error) = factory::cancel(&platform, &scope, &run, reason).await {
                tracing::warn!(%run, %error, "a run that nobody waits for could not be stopped");
            }
        });
    }
}
