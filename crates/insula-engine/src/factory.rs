//! The place where infrastructure is injected, once.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use insula_context::{
    CancelReason, Clock, Deadline, IdSource, RandomIds, RunId, SystemClock, ThreadId, UserExecutionContext, UserScope,
};
use insula_factory::{AgentInstanceFactory, IsolationReport, Ports};
use insula_infra::{Backend, CancelRequest, ComponentHealth, NewRun, RunHeader, RunRecord, Submitted, WorkerId};
use insula_registry::AgentClassRegistry;
use serde_json::Value;

use crate::{
    AgentThreads, Error, EventStream, Limits, Metrics, ToolCatalog, Tools, UserExecutionEngine, WebSocketBridge,
    background,
    engine::EngineCore,
    engines::EngineTable,
    events,
    lanes::Lanes,
    limits::Ledger,
    platform::{AuditTrail, Background, Configured, Counters, LiveRuns, Platform},
};

/// Builds an [`ExecutionEngineFactory`]. What is required was asked for already; the rest has defaults.
#[must_use = "a builder does nothing until it is built"]
pub struct FactoryBuilder {
    registry: AgentClassRegistry,
    backend: Backend,
    tools: Arc<dyn ToolCatalog>,
    services: Vec<String>,
    limits: Limits,
    threads: AgentThreads,
    clock: Option<Arc<dyn Clock>>,
    ids: Arc<dyn IdSource>,
    worker: Option<WorkerId>,
}

impl FactoryBuilder {
    /// The tools and permissions of users. There are none otherwise.
    pub fn tools(mut self, tools: impl ToolCatalog + 'static) -> Self {
        self.tools = Arc::new(tools);
        self
    }

    /// Says that a service which classes may need is there.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.services.push(name.into());
        self
    }

    /// How much each user may have.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where agents are polled.
    pub fn agent_threads(mut self, threads: AgentThreads) -> Self {
        self.threads = threads;
        self
    }

    /// Where the date comes from.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Where ids and randomness come from.
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// The name of this process among those that work on the same runs. A fresh one otherwise.
    pub fn worker(mut self, worker: WorkerId) -> Self {
        self.worker = Some(worker);
        self
    }

    /// The factory.
    pub fn build(self) -> ExecutionEngineFactory {
        let Self { registry, backend, tools, services, limits, threads, clock, ids, worker } = self;
        let (database, cache) = (backend.database.is_some(), backend.cache.is_some());
        let available = Configured { database, cache, services, tools: Arc::clone(&tools) };
        let platform = Platform {
            instances: AgentInstanceFactory::new(registry, Arc::clone(&ids), Arc::new(available)),
            ports: Ports::from(&backend),
            backend,
            tools,
            ledger: Ledger::new(limits),
            clock: clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
            worker: worker.unwrap_or_else(|| WorkerId::new(format!("worker-{}", ids.next_id()))),
            ids,
            lanes: Lanes::new(threads),
            live: LiveRuns::default(),
            engines: EngineTable::default(),
            counters: Counters::default(),
            audit: AuditTrail::default(),
            background: Background::default(),
        };
        ExecutionEngineFactory { platform: Arc::new(platform) }
    }
}

/// A run that is handed to the queue.
#[derive(Debug, Clone)]
pub struct RunRequest {
    agent: String,
    input: Value,
    thread: Option<ThreadId>,
    run: Option<RunId>,
    timeout: Option<Duration>,
    idempotency_key: Option<String>,
}

impl RunRequest {
    /// A run of an agent class, in a thread of its own.
    pub fn new(agent: impl Into<String>, input: Value) -> Self {
        Self { agent: agent.into(), input, thread: None, run: None, timeout: None, idempotency_key: None }
    }

    /// In this conversation.
    #[must_use]
    pub fn thread(mut self, thread: ThreadId) -> Self {
        self.thread = Some(thread);
        self
    }

    /// Under this id.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// To have ended within this time from now, its waiting included.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// A second submission with the same key answers with the first one's run.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }
}

/// Makes engines, one for each user and run, on shared infrastructure. A clone is the same factory with the same limits.
#[derive(Clone)]
pub struct ExecutionEngineFactory {
    platform: Arc<Platform>,
}

impl ExecutionEngineFactory {
    /// Starts from what is required: which classes exist, and where things are stored.
    pub fn builder(registry: AgentClassRegistry, backend: Backend) -> FactoryBuilder {
        FactoryBuilder {
            registry,
            backend,
            tools: Arc::new(Tools::new()),
            services: Vec::new(),
            limits: Limits::default(),
            threads: AgentThreads::default(),
            clock: None,
            ids: Arc::new(RandomIds),
            worker: None,
        }
    }

    /// An engine for the owner of a context.
    ///
    /// # Errors
    /// [`Error::Limit`] when the user has as many engines as allowed, [`Error::EngineExists`] when there is one for this
    /// run, [`Error::ShutDown`]. Nothing is left behind by a refusal.
    pub fn create_for_user(&self, context: &UserExecutionContext) -> Result<UserExecutionEngine, Error> {
        self.open()?;
        let platform = &self.platform;
        let engine = platform.engines.enter(context.scope(), context.run(), || {
            let account = platform.ledger.account(context.scope());
            let permit = account.engine()?;
            Ok(EngineCore::new(Arc::clone(platform), account, permit, context))
        })?;
        platform.counters.engines_created.fetch_add(1, Ordering::AcqRel);
        Ok(UserExecutionEngine::new(engine))
    }

    /// Lends an engine to `work` and shuts it down afterwards, however the work ends. The work's error comes back
    /// unchanged.
    ///
    /// # Errors
    /// Those of [`ExecutionEngineFactory::create_for_user`], and those of the work.
    pub async fn with_engine<T, E: From<Error>>(
        &self,
        context: &UserExecutionContext,
        work: impl AsyncFnOnce(&UserExecutionEngine) -> Result<T, E>,
    ) -> Result<T, E> {
        let engine = self.create_for_user(context)?;
        work(&engine).await
    }

    /// Hands a run to the queue, where it outlives every handle. Durable when it returns. This process works on the
    /// queue from then on.
    ///
    /// # Errors
    /// [`Error::Factory`] when the class is unknown or lacks something, [`Error::Input`], [`Error::Storage`].
    pub async fn submit(&self, scope: &UserScope, request: RunRequest) -> Result<RunId, Error> {
        self.open()?;
        let platform = &self.platform;
        let class = platform.instances.check(&request.agent, scope)?;
        platform.instances.registry().check_input(class.name(), &request.input).map_err(Error::Input)?;
        let now = platform.clock.now();
        let run = request.run.unwrap_or_else(|| RunId::generate(&*platform.ids));
        let header = Arc::new(RunHeader {
            scope: scope.clone(),
            thread: request.thread.unwrap_or_else(|| ThreadId::generate(&*platform.ids)),
            run: run.clone(),
            parent: None,
            agent: Arc::clone(class.name()),
        });
        let allowed = request.timeout.map_or(platform.limits().run_time, |t| t.min(platform.limits().run_time));
        let new = NewRun {
            header,
            version: Arc::clone(class.version()),
            input: events::raw("the input", &request.input)?,
            created_at: now,
            available_at: None,
            deadline: Some(now.plus(allowed)),
        };
        let submitted = platform.backend.queue.submit(new, request.idempotency_key.as_deref()).await?;
        self.work();
        Ok(match submitted {
            Submitted::New => run,
            Submitted::Known(known) => known.header.run.clone(),
        })
    }

    /// Makes this process work on the queue, also on runs that others submitted or left behind. Needs a tokio runtime.
    pub fn work(&self) {
        self.platform.background.claiming.store(true, Ordering::Release);
        background::start(&self.platform);
        self.platform.background.wake.notify_one();
    }

    /// Waits for the end of a run and says how it stands then. `None` when there is no such run. Cancellation safe.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn wait(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        let Some(mut events) = EventStream::run(&self.platform.backend, scope, run, 0).await? else { return Ok(None) };
        while events.next().await?.is_some() {}
        Ok(self.platform.backend.runs.run(scope, run).await?)
    }

    /// Asks to stop a run, wherever it is. `None` when there is no such run.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<Option<CancelRequest>, Error> {
        cancel(&self.platform, scope, run, reason).await
    }

    /// Answers the open question of a run in this process. `false` when there is none.
    pub fn answer(&self, scope: &UserScope, run: &RunId, answer: Value) -> bool {
        self.platform.live.answer(scope, run, answer)
    }

    /// The events of a thread with `seq > after`, and those that follow.
    pub fn events(&self, scope: &UserScope, thread: &ThreadId, after: u64) -> EventStream {
        EventStream::thread(&self.platform.backend, scope, thread, after)
    }

    /// The events of a run with `seq > after`, until its end. `None` when there is no such run.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn run_events(&self, scope: &UserScope, run: &RunId, after: u64) -> Result<Option<EventStream>, Error> {
        EventStream::run(&self.platform.backend, scope, run, after).await
    }

    /// Opens connections that events are delivered to.
    pub fn bridge(&self) -> WebSocketBridge {
        WebSocketBridge::new(Arc::clone(&self.platform))
    }

    /// The classes that exist.
    pub fn registry(&self) -> &AgentClassRegistry {
        self.platform.instances.registry()
    }

    /// The storage that was injected.
    pub fn backend(&self) -> &Backend {
        &self.platform.backend
    }

    /// What the process holds now and has done so far.
    pub fn metrics(&self) -> Metrics {
        self.platform.metrics()
    }

    /// Which instances live now, and whether anything is where it must not be.
    pub fn isolation_report(&self) -> IsolationReport {
        self.platform.instances.isolation_report()
    }

    /// The factory of instances.
    pub fn instances(&self) -> &AgentInstanceFactory {
        &self.platform.instances
    }

    /// How the storage is, asked now.
    pub async fn health(&self) -> Vec<ComponentHealth> {
        self.platform.backend.health.health().await
    }

    /// Cleans a user up: their engines are shut down, their instances count no more and refuse to run. Says how many
    /// engines there were.
    pub fn clean_up_user(&self, scope: &UserScope) -> usize {
        let engines = self.platform.engines.of(scope);
        let reason = CancelReason::new("operator", "the user was cleaned up");
        for engine in &engines {
            engine.shut_down(&reason);
        }
        self.platform.instances.release_user(scope);
        engines.len()
    }

    /// Shuts down engines that have been idle for as long as the limits say. An engine with a run in progress is not
    /// idle. Done by itself while the process works; says how many there were.
    pub fn sweep(&self) -> usize {
        background::sweep(&self.platform)
    }

    /// Ends the process's work: nothing new is accepted, runs in progress have `grace` to end, and those that do not are
    /// stopped. Says how many were stopped.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let background = &self.platform.background;
        background.closed.store(true, Ordering::Release);
        background.wake.notify_waiters();
        let deadline = Deadline::after(grace);
        self.drained(deadline).await;
        let left = self.platform.live.count();
        self.platform.live.cancel_all(&CancelReason::new("shutdown", "the process is shutting down"));
        self.drained(Deadline::after(self.platform.limits().grace * 2)).await;
        for engine in self.platform.engines.all() {
            engine.shut_down(&CancelReason::new("shutdown", "the process is shutting down"));
        }
        left
    }

    async fn drained(&self, deadline: Deadline) {
        while self.platform.live.count() > 0 && !deadline.has_passed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn open(&self) -> Result<(), Error> {
        if self.platform.background.closed.load(Ordering::Acquire) { Err(Error::ShutDown) } else { Ok(()) }
    }
}

impl std::fmt::Debug for ExecutionEngineFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutionEngineFactory").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

/// A run of this process is stopped at once; one elsewhere by whoever holds or claims it.
pub(crate) async fn cancel(
    platform: &Platform,
    scope: &UserScope,
    run: &RunId,
    reason: CancelReason,
) -> Result<Option<CancelRequest>, Error> {
    if platform.live.cancel(scope, run, reason.clone()) {
        return Ok(Some(CancelRequest::Recorded));
    }
    let recorded = platform.backend.runs.request_cancel(scope, run, reason).await?;
    platform.background.wake.notify_one();
    Ok(recorded)
}
