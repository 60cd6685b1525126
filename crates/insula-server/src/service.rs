//! What all routes share, and how a server is put together.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use axum::Router;
use insula_context::Timestamp;
use insula_engine::ExecutionEngineFactory;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{Authenticator, RateRules, Rates},
    metrics::Metrics,
    plans::Plans,
    problem::{Kind, Problem},
    routes,
    seats::Seats,
    settings::Settings,
    webhooks::WebhookCounters,
};

/// A server that is not listening yet. A clone is the same server.
#[derive(Clone)]
pub struct Server(pub(crate) Service);

/// What every route is handed.
#[derive(Clone)]
pub(crate) struct Service(Arc<Shared>);

/// What all routes share.
pub(crate) struct Shared {
    pub engine: ExecutionEngineFactory,
    pub auth: Authenticator,
    pub rates: Rates,
    pub settings: Settings,
    pub metrics: Arc<Metrics>,
    /// What became of webhooks, once somebody delivers them.
    pub deliveries: OnceLock<Arc<WebhookCounters>>,
    pub seats: Seats,
    pub plans: Option<Plans>,
    pub started_at: Timestamp,
    /// Nothing new is taken; streams go on until what is in progress has ended.
    pub draining: CancellationToken,
    /// Streams and sockets end now.
    pub closing: CancellationToken,
    /// Sockets, which HTTP's own end does not wait for.
    pub tasks: TaskTracker,
}

impl Deref for Service {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// Puts a [`Server`] together. What is required was asked for already; the rest has defaults.
#[must_use = "a builder does nothing until it is built"]
pub struct ServerBuilder {
    engine: ExecutionEngineFactory,
    auth: Authenticator,
    settings: Settings,
    rates: RateRules,
    plans: Option<Plans>,
}

impl ServerBuilder {
    /// How much the server takes, and from where.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// How many requests of a user and of an address.
    pub fn rates(mut self, rates: RateRules) -> Self {
        self.rates = rates;
        self
    }

    /// The plans that the engine was built with. Without them admins cannot set limits.
    pub fn plans(mut self, plans: Plans) -> Self {
        self.plans = Some(plans);
        self
    }

    /// The server.
    pub fn build(self) -> Server {
        let Self { engine, auth, settings, rates, plans } = self;
        Server(Service(Arc::new(Shared {
            started_at: engine.clock().now(),
            seats: Seats::new(settings.streams),
            metrics: Arc::new(Metrics::new()),
            deliveries: OnceLock::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            rates: Rates::new(rates, Arc::clone(engine.clock())),
            engine,
            auth,
            settings,
            plans,
        })))
    }
}

impl Service {
    /// The plans, where admins may set limits.
    pub(crate) fn plans(&self) -> Result<&Plans, Problem> {
        let absent = || Problem::new(Kind::Unavailable, "limits of single users are not configured here");
        self.plans.as_ref().ok_or_else(absent)
    }
}

impl Server {
    /// Starts from what is required: what runs agents, and who is let in.
    pub fn builder(engine: ExecutionEngineFactory, auth: Authenticator) -> ServerBuilder {
        ServerBuilder { engine, auth, settings: Settings::default(), rates: RateRules::default(), plans: None }
    }

    /// All routes, to be served by [`Server::serve`] or nested in somebody's own service.
    ///
    /// The address of a caller is known only where the outer service provides `ConnectInfo<SocketAddr>`; without it, there is
    /// no rate by address.
    pub fn router(&self) -> Router {
        routes::router(&self.0)
    }

    /// Takes nothing new from now on: submissions are refused, and `/readyz` says so.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Ends every stream and socket. Each reader has a cursor to go on from.
    pub fn close(&self) {
        self.drain();
        self.0.closing.cancel();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// The API of this engine, with the default settings, to be nested in somebody's own service. Whoever wants to end streams at
/// shutdown, or other settings, takes a [`Server`].
pub fn router(engine: ExecutionEngineFactory, authenticator: Authenticator) -> Router {
    Server::builder(engine, authenticator).build().router()
}
