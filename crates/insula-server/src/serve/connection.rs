//! One connection: its handshake, its limits, its requests.

use std::net::SocketAddr;

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tower::ServiceExt;

use super::{
    guests::{Guest, Guests},
    tls::Tls,
};
use crate::{service::Service, settings::Settings};

/// Requests of one connection at the same time, where the protocol allows more than one.
const STREAMS: u32 = 256;
/// The least that HTTP's own reader takes.
const LEAST_BUFFER: usize = 8 << 10;

/// Lets connections in.
pub(super) struct Doorman {
    pub(super) guests: Guests,
    server: Service,
    http: Builder<TokioExecutor>,
    tls: Option<Tls>,
}

impl Doorman {
    pub(super) fn new(server: &Service, tls: Option<Tls>) -> Self {
        let settings = &server.settings;
        Self {
            guests: Guests::new(settings.connections, settings.connections_per_address),
            http: http(settings),
            server: server.clone(),
            tls,
        }
    }

    /// Serves a connection beside the others, until it ends.
    pub(super) fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
        router: Router,
        graceful: &GracefulShutdown,
    ) {
        let Some(guest) = self.guests.seat(peer.ip(), place) else {
            tracing::debug!(%peer, "an address has too many connections");
            return;
        };
        // What is small is sent at once. A socket that cannot be told so works all the same.
        let _slower = stream.set_nodelay(true);
        let (http, watcher) = (self.http.clone(), graceful.watcher());
        let time = self.server.settings.header_time;
        match self.tls.clone() {
            None => self.start(serve(http, watcher, stream, peer, router), guest),
            Some(tls) => self.start(
                async move {
                    match tokio::time::timeout(time, tls.accept(stream)).await {
                        Ok(Ok(stream)) => serve(http, watcher, stream, peer, router).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
                    }
                },
                guest,
            ),
        }
    }

    fn start(&self, connection: impl Future<Output = ()> + Send + 'static, guest: Guest) {
        tokio::spawn(async move {
            connection.await;
            drop(guest);
        });
    }
}

type Watcher = hyper_util::server::graceful::Watcher;

async fn serve<I>(http: Builder<TokioExecutor>, watcher: Watcher, io: I, peer: SocketAddr, router: Router)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let connection = http.serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%peer, error, "a connection ended badly");
    }
}

/// Bounds on what a client may take its time for, and on what it may send before anybody knows who it is.
fn http(settings: &Settings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_time)
        .max_buf_size(settings.header_bytes.max(LEAST_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(settings.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(settings.header_time)
        .keep_alive_timeout(settings.header_time);
    builder
}
