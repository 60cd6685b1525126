//! What all routes share, and how a server is put together.

use std::{ops::Deref, sync::Arc};

use axum::Router;
use insula_context::Timestamp;
use insula_engine::ExecutionEngineFactory;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{Authenticator, Rates},
    metrics::Metrics,
    routes,
    seats::Seats,
    settings::Settings,
};

/// A server that is not listening yet. A clone is the same server.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

/// What all routes share.
pub(crate) struct Shared {
    pub engine: ExecutionEngineFactory,
    pub auth: Authenticator,
    pub rates: Rates,
    pub settings: Settings,
    pub metrics: Metrics,
    pub seats: Seats,
    pub started_at: Timestamp,
    /// Nothing new is taken; streams go on until what is in progress has ended.
    pub draining: CancellationToken,
    /// Streams and sockets end now.
    pub closing: CancellationToken,
    /// Sockets, which HTTP's own end does not wait for.
    pub tasks: TaskTracker,
}

impl Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Server {
    /// A server with the default rates.
    pub fn new(engine: ExecutionEngineFactory, auth: Authenticator, settings: Settings) -> Self {
        Self::with_rates(engine, auth, settings, Rates::default())
    }

    /// A server that takes so many requests of a user and of an address.
    pub fn with_rates(
        engine: ExecutionEngineFactory,
        auth: Authenticator,
        settings: Settings,
        rates: Rates,
    ) -> Self {
        Self(Arc::new(Shared {
            started_at: engine.clock().now(),
            seats: Seats::new(settings.streams),
            metrics: Metrics::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            engine,
            auth,
            rates,
            settings,
        }))
    }

    /// All routes, to be served by [`Server::serve`] or nested in somebody's own service.
    ///
    /// The address of a caller is known only where the outer service provides `ConnectInfo<SocketAddr>`; without it, there is
    /// no rate by address.
    pub fn router(&self) -> Router {
        routes::router(self)
    }

    /// Takes nothing new from now on: submissions are refused, and `/readyz` says so.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Ends every stream and socket. Each reader has a cursor to go on from.
    pub fn close(&self) {
        self.drain();
        self.closing.cancel();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The API of this engine, with the default settings, to be nested in somebody's own service. Whoever wants to end streams at
/// shutdown, or other settings, takes a [`Server`].
pub fn router(engine: ExecutionEngineFactory, authenticator: Authenticator) -> Router {
    Server::new(engine, authenticator, Settings::default()).router()
}
