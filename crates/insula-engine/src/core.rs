//! What one run consists of while it lives.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{Canceller, Timestamp, UserExecutionContext};
use insula_factory::Gate;
use insula_registry::AgentClass;
use tracing::Span;

use crate::{
    Usage,
    agent_task::Leaving,
    budget::Meter,
    events::ToolStatus,
    history::History,
    journal::Journal,
    limits::Account,
    machine::{self, Command, Happened, Phase},
    platform::Platform,
    undo::Undoables,
    waits::{Waiting, Waits},
};

/// What a run writes elsewhere is written only while its log accepts what led to it.
#[async_trait]
impl Gate for RunCore {
    async fn pass(&self) -> Result<(), insula_agent::Error> {
        self.durable().await
    }
}

/// A run's shared core: the driver, the session's host and the tools' guards all hold it.
pub(crate) struct RunCore {
    pub platform: Arc<Platform>,
    pub account: Arc<Account>,
    pub context: UserExecutionContext,
    /// What a tracer is told of it.
    pub span: Span,
    pub canceller: Canceller,
    pub class: Arc<AgentClass>,
    pub journal: Journal,
    /// What was recorded of the run before it came here.
    pub history: History,
    /// What it may spend and has spent.
    pub meter: Arc<Meter>,
    pub accepted_at: Timestamp,
    /// How much time the run was given.
    pub allowed: Duration,
    /// The calls in progress.
    pub waits: Arc<Waits>,
    /// What is undone if the run does not end well.
    pub undoables: Undoables,
    phase: Mutex<Phase>,
    /// Agents of children whose caller went away while they were being polled.
    orphans: Mutex<Vec<Leaving>>,
    abandoned: AtomicBool,
    tool_calls: AtomicU64,
    steps: AtomicU64,
    thoughts: AtomicU64,
}

impl RunCore {
    #[expect(clippy::too_many_arguments, reason = "a run is made of these, and of nothing that could be left out")]
    pub(crate) fn new(
        platform: Arc<Platform>,
        account: Arc<Account>,
        (span, context): (Span, UserExecutionContext),
        canceller: Canceller,
        class: Arc<AgentClass>,
        journal: Journal,
        waits: Arc<Waits>,
        history: History,
        meter: Arc<Meter>,
        accepted_at: Timestamp,
        allowed: Duration,
    ) -> Arc<Self> {
        let undoables = Undoables::of(history.recorded());
        let (tool_calls, steps) = (history.recorded().tool_calls, history.recorded().steps);
        Arc::new(Self {
            platform,
            account,
            context,
            span,
            canceller,
            class,
            journal,
            history,
            meter,
            accepted_at,
            allowed,
            waits,
            undoables,
            phase: Mutex::new(Phase::Queued),
            orphans: Mutex::default(),
            abandoned: AtomicBool::new(false),
            tool_calls: AtomicU64::new(tool_calls),
            steps: AtomicU64::new(steps),
            thoughts: AtomicU64::new(0),
        })
    }

    /// Tells the state machine what happened and gets what is to be done.
    pub(crate) fn step(&self, happened: Happened) -> Vec<Command> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, commands) = machine::step(*phase, happened);
        *phase = next;
        commands
    }

    /// Takes over an agent that is still to be stopped: this run does not end before it is gone.
    pub(crate) fn adopt(&self, orphan: Leaving) {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner).push(orphan);
    }

    pub(crate) fn take_orphans(&self) -> Vec<Leaving> {
        std::mem::take(&mut *self.orphans.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything that was said is durable.
    pub(crate) async fn durable(&self) -> Result<(), insula_agent::Error> {
        self.going_on()?;
        self.journal.commit().await.map_err(|error| {
            let message = "the run's log cannot be written".to_owned();
            let transient = error.is_transient();
            insula_agent::Error::Storage { operation: "log", message, transient, cause: Some(Box::new(error)) }
        })
    }

    pub(crate) fn tool_called(&self) {
        self.tool_calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn step_recorded(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of the next thought, from 1.
    pub(crate) fn next_thought(&self) -> u64 {
        self.thoughts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the run used, with `more` events that are about to be said.
    pub(crate) fn usage(&self, more: u64) -> Usage {
        let spent = self.meter.spent();
        Usage {
            tool_calls: self.tool_calls.load(Ordering::Relaxed),
            steps: self.steps.load(Ordering::Relaxed),
            events: self.journal.said() + more,
            tokens: spent.tokens,
            money: spent.money,
        }
    }

    /// Refuses what comes after the end: an agent that could not be stopped may still hold its session.
    pub(crate) fn going_on(&self) -> Result<(), insula_agent::Error> {
        let stopped = |why: String| Err(insula_agent::Error::Stopped { why });
        match self.context.cancellation().reason() {
            Some(reason) => stopped(reason.to_string()),
            None if self.journal.is_closed() => stopped("it goes on elsewhere".to_owned()),
            None => Ok(()),
        }
    }

    /// The key that makes every attempt of a call the same one to its tool.
    pub(crate) fn key(&self, index: u32, tool: &str) -> String {
        format!("{}/{index}/{tool}", self.context.run())
    }

    /// The agent did not let itself be stopped.
    pub(crate) fn abandoned(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// How calls ended that were in progress when the agent was stopped.
    pub(crate) fn stopped_calls(&self) -> ToolStatus {
        if self.abandoned.load(Ordering::Acquire) { ToolStatus::Abandoned } else { ToolStatus::Aborted }
    }

    /// Says that a call does something, as long as the value lives.
    pub(crate) fn work(self: &Arc<Self>) -> Work {
        self.waits.begin_work();
        Work(Arc::clone(self))
    }

    /// Says that a call waits, as long as the value lives.
    pub(crate) fn wait(self: &Arc<Self>, index: u32, waiting: Waiting) -> Wait {
        self.step(Happened::Waits(waiting.reason));
        self.waits.begin_wait(index, waiting);
        Wait { run: Arc::clone(self), index }
    }

    /// The time by which waits are due: the store's where that is ahead.
    pub(crate) fn now(&self) -> Timestamp {
        self.platform.clock.now().max(self.history.claimed_at())
    }

    /// How long the run has taken so far.
    pub(crate) fn age(&self) -> Duration {
        self.platform.clock.now().since(self.accepted_at)
    }
}

/// A call that does something. The run is not parked while there is one.
pub(crate) struct Work(Arc<RunCore>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.waits.end_work();
    }
}

/// A call that waits.
pub(crate) struct Wait {
    run: Arc<RunCore>,
    index: u32,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.run.waits.end_wait(self.index);
        self.run.step(Happened::Woken);
    }
}
