//! Puts a factory together.

use std::sync::Arc;

use insula_context::{Clock, IdSource, RandomIds, SystemClock, UserScope};
use insula_factory::{AgentInstanceFactory, Ports};
use insula_infra::{Backend, WorkerId};
use insula_registry::AgentClassRegistry;

use crate::{
    AgentThreads, ExecutionEngineFactory, Limits, ToolCatalog, Tools, Traces,
    breaker::Breakers,
    engines::EngineTable,
    lanes::Lanes,
    limits::{Ledger, LimitsOf},
    platform::{AuditTrail, Background, Configured, Counters, LiveRuns, Platform},
    spans::NoTraces,
};

/// Builds an [`ExecutionEngineFactory`]. What is required was asked for already; the rest has defaults.
#[must_use = "a builder does nothing until it is built"]
pub struct FactoryBuilder {
    registry: AgentClassRegistry,
    backend: Backend,
    tools: Arc<dyn ToolCatalog>,
    services: Vec<String>,
    limits: Limits,
    limits_of: Option<LimitsOf>,
    threads: AgentThreads,
    clock: Option<Arc<dyn Clock>>,
    ids: Arc<dyn IdSource>,
    worker: Option<WorkerId>,
    traces: Arc<dyn Traces>,
}

impl FactoryBuilder {
    pub(crate) fn new(registry: AgentClassRegistry, backend: Backend) -> Self {
        Self {
            registry,
            backend,
            tools: Arc::new(Tools::new()),
            services: Vec::new(),
            limits: Limits::default(),
            limits_of: None,
            threads: AgentThreads::default(),
            clock: None,
            ids: Arc::new(RandomIds),
            worker: None,
            traces: Arc::new(NoTraces),
        }
    }

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

    /// How much single users may have, where it is not what [everybody](FactoryBuilder::limits) may: plans, for example.
    /// Asked whenever a user comes who has nothing at the moment, so it has to answer at once. What belongs to the
    /// process (`claimed`, `lease`, `history`, `grace`, `heartbeat`, `engine_idle`) is always that of everybody.
    ///
    /// ```
    /// # use insula_engine::{ExecutionEngineFactory, FactoryBuilder, Limits};
    /// # fn example(builder: FactoryBuilder) -> ExecutionEngineFactory {
    /// builder
    ///     .limits(Limits { running: 2, ..Limits::default() })
    ///     .limits_of(|scope| {
    ///         let is_paying = scope.tenant().as_str() == "acme";
    ///         is_paying.then(|| Limits { running: 50, ..Limits::default() })
    ///     })
    ///     .build()
    /// # }
    /// ```
    pub fn limits_of(mut self, of: impl Fn(&UserScope) -> Option<Limits> + Send + Sync + 'static) -> Self {
        self.limits_of = Some(Arc::new(of));
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

    /// What joins the engine's spans to traces of other processes. Nothing does otherwise.
    pub fn traces(mut self, traces: Arc<dyn Traces>) -> Self {
        self.traces = traces;
        self
    }

    /// The factory.
    pub fn build(self) -> ExecutionEngineFactory {
        let Self { registry, backend, tools, services, limits, limits_of, threads, clock, ids, worker, traces } = self;
        let (database, cache) = (backend.database.is_some(), backend.cache.is_some());
        let available = Configured { database, cache, services, tools: Arc::clone(&tools) };
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let platform = Platform {
            instances: AgentInstanceFactory::new(registry, Arc::clone(&ids), Arc::new(available)),
            ports: Ports::from(&backend),
            backend,
            tools,
            ledger: Ledger::new(limits, limits_of),
            breakers: Breakers::new(Arc::clone(&clock)),
            clock,
            worker: worker.unwrap_or_else(|| WorkerId::new(format!("worker-{}", ids.next_id()))),
            ids,
            traces,
            lanes: Lanes::new(threads),
            live: LiveRuns::default(),
            engines: EngineTable::default(),
            counters: Counters::default(),
            audit: AuditTrail::default(),
            background: Background::default(),
        };
        ExecutionEngineFactory::new(platform)
    }
}
