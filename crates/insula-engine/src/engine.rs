//! One user's engine.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use insula_agent::{Cache, Database, Resources};
use insula_context::{
    CancelReason, Canceller, Cleanup, RunId, ThreadId, Timestamp, UserExecutionContext, cleanup::CleanupFailure,
};
use insula_factory::{AgentInstance, BoundResources};
use insula_infra::CancelRequest;
use serde::Serialize;
use serde_json::Value;

use crate::{
    AuditEntry, End, Error, EventStream, Outcome, Pipeline, PipelineOutcome, RunSummary, ToolDispatcher,
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
struct Memory {
    stats: EngineStats,
    history: VecDeque<RunSummary>,
    cleanup: Cleanup,
    permit: Option<Permit>,
}

/// What an engine's handle and its table entry share.
pub(crate) struct EngineCore {
    platform: Arc<Platform>,
    account: Arc<Account>,
    context: UserExecutionContext,
    canceller: Canceller,
    shut: AtomicBool,
    active: AtomicUsize,
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

    fn memory(&self) -> MutexGuard<'_, Memory> {
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

    fn open(&self) -> Result<(), Error> {
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

/// One user's engine: everything that this user may do, and nothing of anybody else.
///
/// Made by [`ExecutionEngineFactory::create_for_user`](crate::ExecutionEngineFactory::create_for_user). Dropping it stops
/// its work and gives its place back; what was submitted to the queue goes on.
pub struct UserExecutionEngine {
    core: Arc<EngineCore>,
}

impl UserExecutionEngine {
    pub(crate) fn new(core: Arc<EngineCore>) -> Self {
        Self { core }
    }

    /// The context that the engine was made for.
    pub fn context(&self) -> &UserExecutionContext {
        &self.core.context
    }

    /// A fresh instance of a class, bound to this user and the context's run.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::ShutDown`], or [`Error::Factory`] naming what is missing; then there is no instance.
    pub fn create_agent_instance(&self, context: &UserExecutionContext, class: &str) -> Result<AgentInstance, Error> {
        self.core.admit(context)?;
        Ok(self.core.platform.instances.create(class, context)?)
    }

    /// Runs an agent class once, in the thread and as the run that the context says, and waits for its end.
    ///
    /// A run that ended badly is an [`Outcome`], not an error. Each run id is used once:
    /// [`UserExecutionContext::next_run`] gives a fresh one. An id that was used before is refused by the log; the agent's own
    /// code may have begun by then, but nothing that it wrote or called outside of the run was let through. Dropping the future stops the run, and its log says so.
    ///
    /// # Errors
    /// The run was refused and did not start ([`Error::Foreign`], [`Error::ShutDown`], [`Error::Factory`],
    /// [`Error::Input`], [`Error::Limit`]), or its log cannot be written ([`Error::Storage`]).
    pub async fn execute_agent(
        &self,
        context: &UserExecutionContext,
        class: &str,
        input: Value,
    ) -> Result<Outcome, Error> {
        self.core.admit(context)?;
        let instances = &self.core.platform.instances;
        let class = Arc::clone(instances.check(class, context.scope())?);
        instances.registry().check_input(class.name(), &input).map_err(Error::Input)?;
        self.core.execute(context, class, None, input).await
    }

    /// Runs an instance that exists already, as the run that it was made for. It is used up.
    ///
    /// # Errors
    /// As [`UserExecutionEngine::execute_agent`].
    pub async fn execute_instance(&self, instance: AgentInstance, input: Value) -> Result<Outcome, Error> {
        let context = instance.context().clone();
        self.core.admit(&context)?;
        instance.admit(&context)?;
        let class = Arc::clone(instance.class());
        self.core.platform.instances.registry().check_input(class.name(), &input).map_err(Error::Input)?;
        self.core.execute(&context, class, Some(instance), input).await
    }

    /// Runs a pipeline as one run, whose steps are its children.
    ///
    /// # Errors
    /// As [`UserExecutionEngine::execute_agent`]. A step that failed is in the outcome.
    pub async fn execute_pipeline(
        &self,
        context: &UserExecutionContext,
        pipeline: &Pipeline,
        input: Value,
    ) -> Result<PipelineOutcome, Error> {
        self.core.admit(context)?;
        pipeline.execute(&self.core, context, input).await
    }

    /// The way to call this user's tools outside of an agent. It is the same one for the whole engine.
    ///
    /// # Errors
    /// [`Error::ShutDown`].
    pub fn tool_dispatcher(&self) -> Result<ToolDispatcher, Error> {
        self.core.open()?;
        Ok(ToolDispatcher::new(Arc::clone(&self.core)))
    }

    /// This user's own database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is configured, [`Error::ShutDown`].
    pub fn database_session_manager(&self) -> Result<Arc<dyn Database>, Error> {
        self.core.open()?;
        self.resources().database().map_err(|_| Error::Unavailable { what: "database" })
    }

    /// This user's own cache.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is configured, [`Error::ShutDown`].
    pub fn redis_manager(&self) -> Result<Arc<dyn Cache>, Error> {
        self.core.open()?;
        self.resources().cache().map_err(|_| Error::Unavailable { what: "cache" })
    }

    /// What this user's agents remember; `agent` is the class whose own values are meant.
    pub fn state(&self, agent: &str) -> impl Resources + use<> {
        BoundResources::new(self.core.context.clone(), Arc::from(agent), self.core.platform.ports.clone())
    }

    fn resources(&self) -> BoundResources {
        BoundResources::new(self.core.context.clone(), Arc::from("engine"), self.core.platform.ports.clone())
    }

    /// The events of one of this user's threads with `seq > after`, and those that follow.
    pub fn events(&self, thread: &ThreadId, after: u64) -> EventStream {
        EventStream::thread(&self.core.platform.backend, self.core.context.scope(), thread, after)
    }

    /// The events of one of this user's runs with `seq > after`, until its end. `None` when there is no such run.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn run_events(&self, run: &RunId, after: u64) -> Result<Option<EventStream>, Error> {
        EventStream::run(&self.core.platform.backend, self.core.context.scope(), run, after).await
    }

    /// Asks to stop one of this user's runs, wherever it is, and also if it does not exist yet.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn cancel(&self, run: &RunId, reason: CancelReason) -> Result<CancelRequest, Error> {
        crate::factory::cancel(&self.core.platform, self.core.context.scope(), run, reason).await
    }

    /// Registers what to do when the engine ends, however it ends. Guards run in reverse order; one that fails does not
    /// stop the rest.
    pub fn defer(&self, name: &'static str, task: impl FnOnce() -> Result<(), String> + Send + 'static) {
        self.core.memory().cleanup.defer(name, task);
    }

    /// Counts of this engine.
    pub fn stats(&self) -> EngineStats {
        let active = self.core.active.load(Ordering::Acquire);
        EngineStats { active, ..self.core.memory().stats }
    }

    /// The last ended runs of this engine, oldest first; as many as [`Limits::history`](crate::Limits::history) says.
    pub fn history(&self) -> Vec<RunSummary> {
        self.core.memory().history.iter().cloned().collect()
    }

    /// What this user was refused lately.
    pub fn refusals(&self) -> Vec<AuditEntry> {
        self.core.platform.audit.of(self.core.context.scope())
    }

    /// Whether it was shut down, or swept because it was idle.
    pub fn is_shut_down(&self) -> bool {
        self.core.shut.load(Ordering::Acquire)
    }

    /// Stops its work, runs its cleanups and gives its place back. Says which cleanups failed; the others ran.
    pub fn shutdown(&self) -> Vec<CleanupFailure> {
        self.core.shut_down(&CancelReason::new("shutdown", "the engine was shut down"))
    }
}

impl Drop for UserExecutionEngine {
    fn drop(&mut self) {
        self.core.shut_down(&CancelReason::new("caller", "the engine was dropped"));
    }
}

impl std::fmt::Debug for UserExecutionEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserExecutionEngine").field("context", self.context()).field("stats", &self.stats()).finish()
    }
}
