//! Executes a run again against what is recorded of it, and says where the two part.
//!
//! The agent's class of this process runs on a session of its own: every recorded call returns what it returned then, no
//! tool is called, no child is started, nothing is written, and state, database and cache refuse. Only the agent's own
//! code really runs, with the work of steps that are `Pure` and of which nothing is recorded.
//!
//! In reading order: `tape` (what is recorded, and the first difference), `host` (what the agent's calls become),
//! `refusing` (what is not recorded), and here who drives it.

mod host;
mod refusing;
mod tape;

use std::{future::poll_fn, panic::AssertUnwindSafe, sync::Arc, task::Poll, time::Duration};

use futures::FutureExt;
use insula_agent::Session;
use insula_context::{RunId, UserExecutionContext, UserScope, cleanup::panic_message};
use insula_factory::AgentInstance;
use insula_infra::{FailReason, Failure};
use serde::Serialize;
use serde_json::Value;

use self::{host::ReplayHost, tape::Tape};
use crate::{
    Archive, End, Error, ExecutionEngineFactory, Part,
    ending::{errored, round},
    machine::Happened,
    platform::Platform,
};

/// How long the agent's own code may take. What is recorded takes no time.
const TIME: Duration = Duration::from_secs(60);

/// What came of executing a run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// The run.
    pub run_id: RunId,
    /// Its agent class.
    pub agent: String,
    /// The version that the run was started on; `None` when it was never started.
    pub recorded_version: Option<String>,
    /// The version that was executed now.
    pub version: String,
    /// How much is recorded: against [`Part::Shown`], what was hidden may make a difference.
    pub part: Part,
    /// Calls that were compared.
    pub calls: u64,
    /// Thoughts and events of the agent's own that were compared.
    pub said: u64,
    /// Whether everything that the agent said was said again.
    pub same_events: bool,
    /// Whether it ended as it did then. A run that was stopped from outside is only compared up to there.
    pub same_end: bool,
    /// Where the two part first; `None` when they do not.
    pub difference: Option<Difference>,
}

impl Replay {
    /// Whether there was no difference.
    pub const fn is_same(&self) -> bool {
        self.difference.is_none()
    }
}

/// Two sides that should be one, in words. What is a secret by its name is hidden in both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which call, which thought, the end.
    pub place: String,
    /// What is recorded.
    pub recorded: String,
    /// What the agent did now.
    pub replayed: String,
}

impl ExecutionEngineFactory {
    /// Executes a run that has ended again, as [`ExecutionEngineFactory::replay_archive`] does, from the log. `None` when
    /// there is no such run.
    ///
    /// # Errors
    /// As [`ExecutionEngineFactory::export`] and [`ExecutionEngineFactory::replay_archive`].
    pub async fn replay(&self, scope: &UserScope, run: &RunId) -> Result<Option<Replay>, Error> {
        let Some(mut export) = self.export(scope, run, Part::Whole).await? else { return Ok(None) };
        let mut file = Vec::new();
        while let Some(line) = export.next_line().await? {
            file.extend_from_slice(line.as_bytes());
            file.push(b'\n');
        }
        let archive = Archive::read(&file[..])?;
        self.replay_archive(scope, &archive).await.map(Some)
    }

    /// Executes an archived run again against what is recorded of it, with the class of this process, whatever its
    /// version, and says where the two part first. Nothing outside is touched, and nothing is written.
    ///
    /// What an agent does outside of its session's recorded calls is not recorded: one that reads its state, the time or a
    /// file by itself may part from its record without having changed. An agent that speaks in several branches at once may
    /// do so in another order.
    ///
    /// Takes one of the user's places for running runs, and at most a minute. Cancellation safe: a dropped call stops the
    /// agent.
    ///
    /// # Errors
    /// [`Error::Factory`] when there is no such class here, [`Error::Limit`], [`Error::Json`] when the record cannot be
    /// read.
    pub async fn replay_archive(&self, scope: &UserScope, archive: &Archive) -> Result<Replay, Error> {
        let platform = &self.platform;
        let root = archive.root();
        let class = Arc::clone(platform.instances.check(&root.agent, scope)?);
        let tape = Arc::new(Tape::new(archive)?);
        let input = archive.whole(&root.input)?;
        let _permit = platform.ledger.account(scope).run(&class).await?;
        let time = TIME.min(platform.limits().run_time);
        let context = UserExecutionContext::builder(scope.clone(), root.thread.clone(), root.run.clone())
            .ids(Arc::clone(&platform.ids))
            .clock(Arc::clone(&platform.clock))
            .timeout(time)
            .build()?;
        let instance = platform.instances.create_of(&class, &context);
        if tape.was_started() {
            let host = ReplayHost::new(Arc::clone(platform), archive, Arc::clone(&tape), context, instance.marker());
            let end = execute(platform, &tape, instance, Session::new(Arc::new(host)), input, time).await;
            tape.compare_end(end.as_ref());
        }
        Ok(tape.report(root, class.version(), archive.part()))
    }
}

/// Polls the agent to its end; `None` when it came to where it was stopped then.
async fn execute(
    platform: &Platform,
    tape: &Arc<Tape>,
    instance: AgentInstance,
    session: Session,
    input: Value,
    time: Duration,
) -> Option<End> {
    let tape = Arc::clone(tape);
    let task = platform.lanes.spawn(async move {
        let mut agent = Box::pin(AssertUnwindSafe(instance.run(session, input)).catch_unwind());
        poll_fn(|cx| match agent.poll_unpin(cx) {
            Poll::Ready(Ok(Ok(returned))) => Poll::Ready(Some(ended(returned))),
            Poll::Ready(Ok(Err(refused))) => Poll::Ready(Some(failed(FailReason::Error, refused.to_string()))),
            Poll::Ready(Err(panic)) => {
                tracing::debug!(panic = panic_message(&*panic), "the replayed agent panicked");
                Poll::Ready(Some(failed(FailReason::Panic, "the agent panicked".to_owned())))
            }
            // It was stopped from outside here, and has nothing left to be told.
            Poll::Pending if tape.is_where_it_was_stopped() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    });
    match tokio::time::timeout(time, task).await {
        Ok(end) => end.unwrap_or_else(|| Some(failed(FailReason::Lost, "the replay was stopped".to_owned()))),
        Err(_) => Some(failed(FailReason::Timeout, format!("no end within {:?}", round(time)))),
    }
}

/// What the engine makes of what an agent returned.
fn ended(returned: Result<Value, insula_agent::Error>) -> End {
    match returned {
        Ok(Value::Null) => failed(FailReason::ReturnedNothing, "the agent ended without a result".to_owned()),
        Ok(result) => End::Completed(result),
        Err(error) => match errored(&error) {
            Happened::Errored { reason, message, .. } => failed(reason, message),
            _ => failed(FailReason::Error, error.to_string()),
        },
    }
}

const fn failed(reason: FailReason, message: String) -> End {
    End::Failed(Failure { reason, message })
}
