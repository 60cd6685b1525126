//! A whole engine on one backend: the kit's classes, the kit's tool, adjustable before its first use.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use insula_agent::{Tool, kit};
use insula_context::{UserExecutionContext, UserScope};
use insula_engine::{AgentThreads, ExecutionEngineFactory, Limits, Outcome, Tools, UserExecutionEngine};
use insula_infra::Backend;
use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::Value;

use super::{context, log, people};

/// An engine with everything that it needs. Change it first ([`Island::limits`], [`Island::class`], …), then use it:
/// with the first use it is built.
pub(crate) struct Island {
    backend: Backend,
    classes: Vec<AgentClass>,
    tools: Tools,
    services: Vec<String>,
    limits: Limits,
    plans: Option<Plans>,
    threads: AgentThreads,
    known: Known,
    factory: OnceLock<ExecutionEngineFactory>,
}

type Plans = Arc<dyn Fn(&UserScope) -> Option<Limits> + Send + Sync>;
type Known = Arc<Mutex<BTreeSet<UserScope>>>;

impl Island {
    pub(crate) fn new(backend: Backend) -> Self {
        Self {
            backend,
            classes: kits(),
            tools: Tools::new().with(kit::tally()),
            services: Vec::new(),
            limits: Limits::default(),
            plans: None,
            threads: AgentThreads::Own(2),
            known: Known::default(),
            factory: OnceLock::new(),
        }
    }

    /// Replaces or takes away ports: `island.backend(|ports| ports.cache = None)`.
    pub(crate) fn backend(mut self, change: impl FnOnce(&mut Backend)) -> Self {
        change(&mut self.backend);
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Gives single users other limits.
    pub(crate) fn plans(mut self, of: impl Fn(&UserScope) -> Option<Limits> + Send + Sync + 'static) -> Self {
        self.plans = Some(Arc::new(of));
        self
    }

    /// Adds a class, instead of the kit's one of the same name if there is one.
    pub(crate) fn class(mut self, class: AgentClass) -> Self {
        self.classes.retain(|known| known.name() != class.name());
        self.classes.push(class);
        self
    }

    /// Adds a tool for everybody.
    pub(crate) fn tool(mut self, tool: impl Tool + 'static) -> Self {
        self.tools = self.tools.with(tool);
        self
    }

    /// Changes tools and permissions: `island.tools(|tools| tools.with_for(ada, tool))`.
    pub(crate) fn tools(mut self, change: impl FnOnce(Tools) -> Tools) -> Self {
        self.tools = change(self.tools);
        self
    }

    pub(crate) fn service(mut self, name: &str) -> Self {
        self.services.push(name.to_owned());
        self
    }

    pub(crate) fn threads(mut self, threads: AgentThreads) -> Self {
        self.threads = threads;
        self
    }

    /// The engine factory; built with the first call.
    pub(crate) fn factory(&self) -> &ExecutionEngineFactory {
        self.factory.get_or_init(|| self.another())
    }

    /// Another factory on the same storage: a second process, as it were.
    pub(crate) fn another(&self) -> ExecutionEngineFactory {
        let classes = self.classes.iter().cloned();
        let registry = classes.fold(AgentClassRegistry::builder(), |builder, class| builder.register(class));
        let builder = ExecutionEngineFactory::builder(registry.freeze().unwrap(), self.backend.clone())
            .tools(self.tools.clone())
            .limits(self.limits.clone())
            .agent_threads(self.threads);
        let plans = self.plans.clone();
        let builder = builder.limits_of(move |scope| plans.as_ref().and_then(|of| of(scope)));
        self.services.iter().fold(builder, |builder, name| builder.service(name)).build()
    }

    pub(crate) fn ports(&self) -> &Backend {
        &self.backend
    }

    /// Makes the witness look at this user's logs as well. Done by itself for users of [`Island::users`] and for
    /// whoever has an engine from [`Island::engine`].
    pub(crate) fn knows(&self, scope: &UserScope) {
        self.known.lock().unwrap().insert(scope.clone());
    }

    /// `n` users.
    pub(crate) fn users(&self, n: usize) -> Vec<UserScope> {
        let users = people::users(n);
        users.iter().for_each(|scope| self.knows(scope));
        users
    }

    /// One user by name.
    pub(crate) fn user(&self, name: &str) -> UserScope {
        let scope = people::user(name);
        self.knows(&scope);
        scope
    }

    /// An engine for a context's owner.
    pub(crate) fn engine(&self, context: &UserExecutionContext) -> UserExecutionEngine {
        self.knows(context.scope());
        self.factory().create_for_user(context).unwrap()
    }

    /// Runs a class once for a user, on an engine and in a thread of its own.
    pub(crate) async fn run(&self, scope: &UserScope, class: &str, input: Value) -> Outcome {
        let context = context(scope);
        self.engine(&context).execute_agent(&context, class, input).await.unwrap()
    }

    /// Who can read every log later, also when the island is gone.
    pub(crate) fn witness(&self) -> Witness {
        Witness { backend: self.backend.clone(), known: Arc::clone(&self.known) }
    }
}

/// Reads what is left of an island.
pub(crate) struct Witness {
    backend: Backend,
    known: Known,
}

impl Witness {
    /// Panics when the log of any run of any known user is not as a log must be.
    pub(crate) async fn hold_against_the_invariants(&self) {
        let known = self.known.lock().unwrap().clone();
        for scope in &known {
            log::hold_against_the_invariants(&self.backend, scope).await;
        }
    }
}

/// The kit's agents. Those that take an argument have a small one here; tests add their own with [`Island::class`].
fn kits() -> Vec<AgentClass> {
    vec![
        AgentClass::new("echo", "1", kit::echo),
        AgentClass::new("noop", "1", kit::noop),
        AgentClass::new("sleep", "1", || kit::sleep(Duration::from_millis(10))),
        AgentClass::new("tools", "1", || kit::tools(3)),
        AgentClass::new("fail", "1", || kit::fail("it does not work")),
        AgentClass::new("panic", "1", kit::panic),
        AgentClass::new("silent", "1", kit::silent),
        AgentClass::new("hog", "1", || kit::hog(Duration::from_millis(200))),
        AgentClass::new("chatty", "1", || kit::chatty(50)),
        AgentClass::new("leaky", "1", kit::leaky),
    ]
}
