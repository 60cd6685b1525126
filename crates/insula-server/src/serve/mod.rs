//! Listening, and ending: what is in progress ends or is handed over, every stream gets its end, and nothing waits for ever.

mod connection;
mod guests;
mod tls;

use std::{future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use insula_context::{CancelReason, Canceller};
use tokio::net::{TcpListener, TcpSocket};

use self::connection::Doorman;
pub use self::tls::Tls;
use crate::{service::Server, webhooks::Deliverer};

/// How long open connections may take to end after their streams have.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long to wait after the listener has failed: it is out of files, most likely, and some will be closed.
const TRY_AGAIN: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted. The system may allow fewer (`net.core.somaxconn`, 4,096 on Linux). With the 128 of the
/// standard library a crowd of 500 overflows it, and a client whose connection is lost there believes that it is open.
const QUEUE: u32 = 4_096;

/// Listens on this address, with room for a crowd that comes at once. An address that was listened on a moment ago is free again.
///
/// # Errors
/// What the system says: the address is in use, is not of this machine, or needs a privilege.
///
/// # Panics
/// Outside of a Tokio runtime with IO, as every listener of Tokio does.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows the same option would let two processes share a port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

impl Server {
    /// Serves until `shutdown` comes, and then ends in order: nothing new is submitted, runs in progress have
    /// [`Settings::drain`](crate::Settings::drain) to end and are handed over otherwise, streams and sockets end with a cursor to
    /// go on from, connections are closed. Works on the queue meanwhile, and delivers webhooks. Says how many runs were handed over or
    /// stopped. A connection that fails ends nothing else.
    pub async fn serve(self, listener: TcpListener, tls: Option<Tls>, shutdown: impl Future<Output = ()>) -> usize {
        let deliveries = self.deliver();
        self.0.engine.work();
        let graceful = GracefulShutdown::new();
        let doorman = Doorman::new(&self.0, tls);
        let router = self.router();
        let mut left = 0;
        tokio::select! {
            () = accept(&listener, &doorman, &router, &graceful) => {}
            () = self.end(shutdown, &mut left) => {}
        }
        drop(listener);
        deliveries.cancel(CancelReason::new("shutdown", "the server is going down"));
        self.0.tasks.close();
        let ended = async { tokio::join!(graceful.shutdown(), self.0.tasks.wait(), self.0.auth.flush()) };
        if tokio::time::timeout(FAREWELL, ended).await.is_err() {
            tracing::warn!("some connections did not end in time: they are cut");
        }
        left
    }

    /// Waits for the wish to end and carries it out up to the point where nothing is left to be said to anybody. Connections are
    /// accepted meanwhile: whoever asks is told.
    async fn end(&self, shutdown: impl Future<Output = ()>, left: &mut usize) {
        pin!(shutdown).await;
        tracing::info!("draining");
        self.drain();
        *left = self.0.engine.shutdown(self.0.settings.drain).await;
        self.close();
    }

    /// Delivers webhooks until the canceller says otherwise.
    fn deliver(&self) -> Canceller {
        let stop = Canceller::new();
        let clock = self.0.engine.clock().clone();
        let deliverer = Deliverer::new(self.0.engine.backend(), self.0.settings.webhooks.clone(), clock);
        // A second server of the same state counts with the first.
        let _known = self.0.deliveries.set(deliverer.counters());
        self.0.tasks.spawn(deliverer.run(stop.cancellation(), FAREWELL));
        stop
    }
}

async fn accept(listener: &TcpListener, doorman: &Doorman, router: &Router, graceful: &GracefulShutdown) {
    loop {
        let place = doorman.guests.place().await;
        match listener.accept().await {
            Ok((stream, peer)) => doorman.admit(stream, peer, place, router.clone(), graceful),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(TRY_AGAIN).await;
            }
        }
    }
}
