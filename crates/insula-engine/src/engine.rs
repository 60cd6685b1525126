//! One user's engine.

mod core;

use std::sync::{Arc, atomic::Ordering};

use insula_agent::{Cache, Database, Resources};
use insula_context::{CancelReason, RunId, ThreadId, UserExecutionContext, cleanup::CleanupFailure};
use insula_factory::{AgentInstance, BoundResources};
use insula_infra::CancelRequest;
use serde_json::Value;

pub(crate) use self::core::EngineCore;
pub use self::core::EngineStats;
use crate::{AuditEntry, Error, EventStream, Outcome, Pipeline, PipelineOutcome, RunSummary, ToolDispatcher};

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
