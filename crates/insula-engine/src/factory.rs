//! The place where infrastructure is injected, once.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use insula_context::{CancelReason, Clock, Deadline, IdSource, RunId, ThreadId, UserExecutionContext, UserScope};
use insula_factory::{AgentInstanceFactory, IsolationReport};
use insula_infra::{
    AnswerRequest, Backend, CancelRequest, ComponentHealth, OpenQuestion, Page, PageRequest, PayloadHash, RawJson,
    RunFilter, RunRecord, WorkerId,
};
use insula_registry::AgentClassRegistry;
use serde_json::Value;

use crate::{
    AnswerTo, Error, EventStream, FactoryBuilder, Limits, Metrics, RunRequest, Traces, UserExecutionEngine,
    WebSocketBridge, background, engine::EngineCore, events, inbox, platform::Platform, submission,
};

/// Makes engines, one for each user and run, on shared infrastructure. A clone is the same factory with the same limits.
#[derive(Clone)]
pub struct ExecutionEngineFactory {
    pub(crate) platform: Arc<Platform>,
}

impl ExecutionEngineFactory {
    pub(crate) fn new(platform: Platform) -> Self {
        Self { platform: Arc::new(platform) }
    }

    /// Starts from what is required: which classes exist, and where things are stored.
    pub fn builder(registry: AgentClassRegistry, backend: Backend) -> FactoryBuilder {
        FactoryBuilder::new(registry, backend)
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
    /// [`Error::Factory`] when the class is unknown or lacks something, [`Error::Input`], [`Error::Limit`] when the user
    /// has as many queued runs as allowed, [`Error::ThreadBusy`] when it was to be refused then, [`Error::Storage`].
    pub async fn submit(&self, scope: &UserScope, request: RunRequest) -> Result<RunId, Error> {
        let run = self.enqueue(scope, request).await?;
        self.work();
        Ok(run)
    }

    /// As [`ExecutionEngineFactory::submit`], and leaves it to others to work on the queue.
    ///
    /// # Errors
    /// As there.
    pub async fn enqueue(&self, scope: &UserScope, request: RunRequest) -> Result<RunId, Error> {
        self.open()?;
        submission::submit(&self.platform, scope, request).await
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

    /// A value of an event or of a run's record as a whole: what is kept by reference because it is large is fetched.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer, or the stored bytes are not what was written.
    pub async fn whole(&self, scope: &UserScope, value: &RawJson) -> Result<Value, Error> {
        whole(&self.platform, scope, value).await
    }

    /// Asks to stop a run, wherever it is, and also if it does not exist yet.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn cancel(&self, scope: &UserScope, run: &RunId, reason: CancelReason) -> Result<CancelRequest, Error> {
        cancel(&self.platform, scope, run, reason).await
    }

    /// Asks to stop every run of the filter that has not ended, wherever it is, in one write. Says which those are.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        let platform = &self.platform;
        let runs = platform.backend.runs.request_cancel_all(scope, filter, reason.clone()).await?;
        // Those of this process need not wait until it reads the wish.
        for run in &runs {
            platform.live.cancel(scope, run, reason.clone());
        }
        platform.background.wake.notify_one();
        Ok(runs)
    }

    /// A user's open questions, or those of one run, newest first.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store does not answer.
    pub async fn inbox(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        Ok(self.platform.backend.inbox.questions(scope, run, page).await?)
    }

    /// Answers a question of a run, wherever the run is, and also while nobody works on it. `None` when it has no such
    /// open question. See [`AnswerTo`].
    ///
    /// # Errors
    /// [`Error::Answer`] when the answer is none of those that the question takes; it stays open. [`Error::Storage`].
    pub async fn answer(
        &self,
        scope: &UserScope,
        run: &RunId,
        answer: AnswerTo,
    ) -> Result<Option<AnswerRequest>, Error> {
        inbox::answer(&self.platform, scope, run, answer).await
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

    /// What joins spans to traces of other processes, for whoever has spans beside the engine's.
    pub fn traces(&self) -> &Arc<dyn Traces> {
        &self.platform.traces
    }

    /// The storage that was injected.
    pub fn backend(&self) -> &Backend {
        &self.platform.backend
    }

    /// Where the date comes from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.platform.clock
    }

    /// Where ids come from.
    pub fn ids(&self) -> &dyn IdSource {
        &*self.platform.ids
    }

    /// What everybody may have who has no limits of their own.
    pub fn limits(&self) -> &Limits {
        self.platform.limits()
    }

    /// The name of this process among those that work on the same runs.
    pub fn worker(&self) -> &WorkerId {
        &self.platform.worker
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

    /// Ends the process's work: nothing new is accepted, and runs in progress have `grace` to end. Of those that do not,
    /// the ones from the queue are handed over to whoever works on it next, and the others are stopped. Says how many were
    /// left. Every stream has its last event then, or a cursor to go on from.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let background = &self.platform.background;
        background.closed.store(true, Ordering::Release);
        background.wake.notify_waiters();
        let deadline = Deadline::after(grace);
        self.drained(deadline).await;
        let left = self.platform.live.count();
        self.platform.live.hand_over();
        self.platform.live.cancel_all(&CancelReason::new("shutdown", "the process is shutting down"));
        self.drained(Deadline::after(self.platform.limits().grace * 2)).await;
        for engine in self.platform.engines.all() {
            engine.shut_down(&CancelReason::new("shutdown", "the process is shutting down"));
        }
        left
    }

    /// Waits until nothing lives here, and what was handed over is written.
    async fn drained(&self, deadline: Deadline) {
        let claimed = &self.platform.background.claimed;
        let holds_some = || self.platform.live.count() > 0 || claimed.load(Ordering::Acquire) > 0;
        while holds_some() && !deadline.has_passed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) fn open(&self) -> Result<(), Error> {
        if self.platform.background.closed.load(Ordering::Acquire) { Err(Error::ShutDown) } else { Ok(()) }
    }
}

impl std::fmt::Debug for ExecutionEngineFactory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecutionEngineFactory").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

/// The value itself, or what it refers to.
pub(crate) async fn whole(platform: &Platform, scope: &UserScope, value: &RawJson) -> Result<Value, Error> {
    let json = |e: serde_json::Error| Error::Json { what: "the stored value", problem: e.to_string() };
    match events::reference(value) {
        Some(hash) => payload(platform, scope, &hash).await,
        None => serde_json::from_str(value.get()).map_err(json),
    }
}

/// The large value of this hash.
pub(crate) async fn payload(platform: &Platform, scope: &UserScope, hash: &PayloadHash) -> Result<Value, Error> {
    let json = |e: serde_json::Error| Error::Json { what: "the stored value", problem: e.to_string() };
    match platform.backend.log.payload(scope, hash).await? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(json),
        None => {
            Err(Error::Json { what: "the stored value", problem: format!("the payload {hash} is not kept any more") })
        }
    }
}

/// A run of this process is stopped at once; one elsewhere by whoever holds or claims it. Either way the wish is durable
/// when this says so: the process may be lost before the run has ended.
pub(crate) async fn cancel(
    platform: &Platform,
    scope: &UserScope,
    run: &RunId,
    reason: CancelReason,
) -> Result<CancelRequest, Error> {
    let is_here = platform.live.cancel(scope, run, reason.clone());
    let recorded = platform.backend.runs.request_cancel(scope, run, reason).await?;
    platform.background.wake.notify_one();
    Ok(if is_here { CancelRequest::Recorded } else { recorded })
}
