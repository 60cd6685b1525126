//! What an engine's handle and its table entry share.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use insula_context::{
    CancelReason, Canceller, Cleanup, RunId, Timestamp, UserExecutionContext, cleanup::CleanupFailure,
};
use insula_factory::AgentInstance;
use serde::Serialize;
use serde_json::Value;

use crate::{
    End, Error, Outcome, RunSummary,
    afterwards::{self, StopWhenDropped},
    background,
    driver::{self, Driven, Job, Report},
    limits::{Account, Permit},
    origin::Origin,
    platform::Platform,
};

/// Counts of one engine. They grow and are never reset, and take the same space after any number of runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct EngineStats {
    /// Runs that ended, however they ended.
    pub runs: u64,
    /// Runs that ended with a result.
    pub completed: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were stopped.
    pub cancelled: u64,
    /// Calls of tools that were really made.
    pub tool_calls: u64,
    /// The time of all runs together, in microseconds.
    pub busy_micros: u64,
    /// Runs in progress now.
    pub active: usize,
}

#[derive(Default)]
pub(super) struct Memory {
    pub(super) stats: EngineStats,
    pub(super) history: VecDeque<RunSummary>,
    pub(super) cleanup: Cleanup,
    permit: Option<Permit>,
}

/// What an engine's handle and its table entry share.
pub(crate) struct EngineCore {
    pub(super) platform: Arc<Platform>,
    account: Arc<Account>,
    pub(super) context: UserExecutionContext,
    canceller: Canceller,
    pub(super) shut: AtomicBool,
    pub(super) active: AtomicUsize,
    used_at: Mutex<Timestamp>,
    memory: Mutex<Memory>,
}

impl EngineCore {
    pub(crate) fn new(
        platform: Arc<Platform>,
        account: Arc<Account>,
        permit: Permit,
        context: &UserExecutionContext,
    ) -> Arc<Self> {
        let (context, canceller) = context.narrow(None);
        let used_at = Mutex::new(platform.clock.now());
        let memory = Mutex::new(Memory { permit: Some(permit), ..Memory::default() });
        let (shut, active) = (AtomicBool::new(false), AtomicUsize::new(0));
        Arc::new(Self { platform, account, context, canceller, shut, active, used_at, memory })
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn used(&self) {
        *self.used_at.lock().unwrap_or_else(PoisonError::into_inner) = self.platform.clock.now();
    }

    /// Whether nothing has been done with it for that long.
    pub(crate) fn is_idle_for(&self, idle: Duration) -> bool {
        let used_at = *self.used_at.lock().unwrap_or_else(PoisonError::into_inner);
        self.active.load(Ordering::Acquire) == 0 && self.platform.clock.now().since(used_at) >= idle
    }

    /// Stops everything and gives everything back, once. Says which cleanups failed.
    pub(crate) fn shut_down(&self, reason: &CancelReason) -> Vec<CleanupFailure> {
        if self.shut.swap(true, Ordering::AcqRel) {
            return Vec::new();
        }
        self.canceller.cancel(reason.clone());
        let (mut cleanup, permit) = {
            let mut memory = self.memory();
            (std::mem::take(&mut memory.cleanup), memory.permit.take())
        };
        // A guard may call the engine: no lock is held here.
        let failures = cleanup.run();
        for failure in &failures {
            tracing::error!(guard = failure.name, failure.message, "an engine's cleanup failed");
        }
        drop(permit);
        self.platform.engines.leave(self.context.scope(), self.context.run());
        self.platform.counters.engines_cleaned.fetch_add(1, Ordering::AcqRel);
        failures
    }

    pub(crate) fn context(&self) -> &UserExecutionContext {
        &self.context
    }

    pub(crate) fn tools(&self) -> &dyn crate::ToolCatalog {
        &*self.platform.tools
    }

    pub(super) fn open(&self) -> Result<(), Error> {
        let over = self.shut.load(Ordering::Acquire) || self.platform.background.closed.load(Ordering::Acquire);
        if over { Err(Error::ShutDown) } else { Ok(()) }
    }

    /// Admits an execution: for this engine's user only, and not after the end.
    pub(crate) fn admit(&self, context: &UserExecutionContext) -> Result<(), Error> {
        self.open()?;
        if context.scope() != self.context.scope() {
            return Err(Error::Foreign);
        }
        Ok(())
    }

    pub(crate) async fn execute(
        self: &Arc<Self>,
        context: &UserExecutionContext,
        class: Arc<insula_registry::AgentClass>,
        instance: Option<AgentInstance>,
        input: Value,
    ) -> Result<Outcome, Error> {
        let _active = Active::new(self);
        background::start(&self.platform);
        self.account.take_run(&*self.platform.backend.quota).await?;
        let core = Arc::clone(self);
        let job = Job {
            platform: Arc::clone(&self.platform),
            account: Arc::clone(&self.account),
            context: context.clone(),
            class,
            instance,
            input,
            origin: Origin::Caller,
            report: Some(Box::new(move |outcome| core.remember(outcome))),
        };
        let stopped = self.context.cancellation();
        let (run, live) = (context.run().clone(), &self.platform.live);
        let driven = {
            let driving = driver::start(job)?;
            tokio::pin!(driving);
            tokio::select! {
                // An end that is there already comes before a wish to stop.
                biased;
                driven = &mut driving => driven?,
                // The engine's end is the end of its runs: each ends by its own machine, and is waited for.
                reason = stopped.cancelled() => {
                    live.cancel(context.scope(), &run, reason);
                    driving.await?
                }
            }
        };
        match driven {
            Driven::Ended(outcome) => Ok(outcome),
            Driven::Left(report) => self.await_parked(&run, report).await,
        }
    }

    /// Waits for the end of a run that was parked: whoever claims it writes that.
    async fn await_parked(&self, run: &RunId, report: Option<Report>) -> Result<Outcome, Error> {
        let (scope, stopped) = (self.context.scope(), self.context.cancellation());
        let gone = CancelReason::new("caller", "whoever waited for the run is gone");
        let stop = StopWhenDropped::new(&self.platform, scope, run, gone);
        let waiting = afterwards::outcome(&self.platform, scope, run);
        tokio::pin!(waiting);
        let outcome = tokio::select! {
            biased;
            outcome = &mut waiting => outcome,
            reason = stopped.cancelled() => {
                crate::factory::cancel(&self.platform, scope, run, reason).await?;
                waiting.await
            }
        };
        stop.let_go();
        let outcome = outcome?;
        report.into_iter().for_each(|report| report(&outcome));
        Ok(outcome)
    }

    fn remember(&self, outcome: &Outcome) {
        let ended_at = self.platform.clock.now();
        let mut memory = self.memory();
        let stats = &mut memory.stats;
        stats.runs += 1;
        match outcome.end {
            End::Completed(_) => stats.completed += 1,
            End::Failed(_) => stats.failed += 1,
            End::Cancelled(_) => stats.cancelled += 1,
        }
        stats.tool_calls += outcome.usage.tool_calls;
        stats.busy_micros += u64::try_from(outcome.duration.as_micros()).unwrap_or(u64::MAX);
        if memory.history.len() >= self.platform.limits().history {
            memory.history.pop_front();
        }
        let (run_id, agent) = (outcome.run.clone(), outcome.agent.clone());
        memory.history.push_back(RunSummary {
            run_id,
            agent,
            end: outcome.end.reason(),
            ended_at,
            duration: outcome.duration,
        });
    }
}

/// Counts an execution while it lasts.
struct Active<'a>(&'a EngineCore);

impl<'a> Active<'a> {
    fn new(engine: &'a EngineCore) -> Self {
        engine.active.fetch_add(1, Ordering::AcqRel);
        engine.used();
        Self(engine)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.used();
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}
