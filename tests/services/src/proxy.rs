//! A TCP proxy whose network can be made to fail while it runs.

mod connection;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

/// What the network does. It holds from the moment [`Proxy::set`] returns, also for connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    /// Nothing is wrong.
    #[default]
    Pass,
    /// Nobody listens: new connections are refused. Open ones stay; [`Proxy::cut`] ends them.
    Refuse,
    /// New connections are accepted and nothing is read or forwarded, either way. What was on its way is held, and
    /// goes on when the fault ends.
    BlackHole,
    /// Requests arrive and answers are held: the server does the work and the client never hears of it.
    HoldAnswers,
    /// Each piece of data waits so long before it goes on, in both directions.
    Delay(Duration),
    /// At most so many bytes a second, in each direction of each connection.
    Throttle(NonZeroU64),
}

/// What went through, since the proxy exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Connections that were accepted, also those that never reached the server.
    pub connections: u64,
    /// Of these, how many are open now.
    pub open: u64,
    /// Bytes that were handed on to the server.
    pub requested: u64,
    /// Bytes that were handed on to the client.
    pub answered: u64,
}

/// Stands between a client and a server. Dropping it closes every connection.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    address: SocketAddr,
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
    counts: Arc<Counts>,
    listening: AbortHandle,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Set(Fault),
    Cut,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    requested: AtomicU64,
    answered: AtomicU64,
}

impl Proxy {
    /// Before a server on this machine or elsewhere, given as `host:port` or as a URL with both.
    ///
    /// # Panics
    /// Outside a Tokio runtime, or when no port is free.
    #[must_use]
    pub fn to(server: &str) -> Self {
        let reserved = socket();
        reserved.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("some port is free");
        let address = reserved.local_addr().expect("a bound socket has an address");
        let counts = Arc::new(Counts::default());
        let (orders, received) = mpsc::unbounded_channel();
        let authority = authority(server);
        let listening = Listening {
            server: server[authority.clone()].into(),
            listener: Some(listen(address)),
            reserved,
            fault: watch::Sender::new(Fault::Pass),
            cut: watch::Sender::new(()),
            counts: Arc::clone(&counts),
            connections: JoinSet::new(),
        };
        let listening = tokio::spawn(listening.run(received)).abort_handle();
        let url = [&server[..authority.start], &address.to_string(), &server[authority.end..]].concat();
        Self { url, address, orders, counts, listening }
    }

    /// Where the proxy listens, on loopback. It stays the same, whatever the fault.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What was given to [`to`](Self::to), leading through the proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes what the network does.
    pub async fn set(&self, fault: Fault) {
        self.order(Order::Set(fault)).await;
    }

    /// Resets every open connection, as a firewall does or a machine that comes back without a memory. When this
    /// returns they are gone.
    pub async fn cut(&self) {
        self.order(Order::Cut).await;
    }

    /// What went through so far.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let counts = &self.counts;
        Seen {
            connections: counts.connections.load(Ordering::SeqCst),
            open: counts.open.load(Ordering::SeqCst),
            requested: counts.requested.load(Ordering::SeqCst),
            answered: counts.answered.load(Ordering::SeqCst),
        }
    }

    async fn order(&self, order: Order) {
        let (done, is_done) = oneshot::channel();
        self.orders.send((order, done)).expect("the listening task ends with the proxy");
        is_done.await.expect("the listening task ends with the proxy");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The task that accepts. It owns those of the connections, which end with it.
struct Listening {
    server: String,
    /// `None` while connections are refused.
    listener: Option<TcpListener>,
    /// Bound and not listening: keeps the port for us while nobody listens there.
    reserved: TcpSocket,
    fault: watch::Sender<Fault>,
    cut: watch::Sender<()>,
    counts: Arc<Counts>,
    connections: JoinSet<()>,
}

impl Listening {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>) {
        loop {
            tokio::select! {
                client = accept(self.listener.as_ref()) => self.begin(client),
                Some(_) = self.connections.join_next() => {}
                Some((order, done)) = orders.recv() => {
                    self.obey(order).await;
                    // Whoever ordered it may have stopped waiting.
                    let _ = done.send(());
                }
            }
        }
    }

    fn begin(&mut self, client: TcpStream) {
        self.counts.connections.fetch_add(1, Ordering::SeqCst);
        let counts = Arc::clone(&self.counts);
        let (fault, cut) = (self.fault.subscribe(), self.cut.subscribe());
        self.connections.spawn(connection::carry(client, self.server.clone(), fault, cut, counts));
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Set(fault) => {
                let refuses = fault == Fault::Refuse;
                self.listener = if refuses { None } else { self.listener.take().or_else(|| Some(listen_again(self))) };
                self.fault.send_replace(fault);
            }
            Order::Cut => {
                self.cut.send_replace(());
                while self.connections.join_next().await.is_some() {}
            }
        }
    }
}

fn listen_again(listening: &Listening) -> TcpListener {
    listen(listening.reserved.local_addr().expect("a bound socket has an address"))
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        // A client that is gone before it is accepted is an error of its own.
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let socket = socket();
    socket.bind(address).expect("the port is reserved for us");
    socket.listen(1024).expect("a bound socket can listen")
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a process may have one more socket");
    socket.set_reuseaddr(true).expect("a new socket takes any option");
    socket.set_reuseport(true).expect("a new socket takes any option");
    socket
}

/// Where `host:port` stands in it.
fn authority(url: &str) -> std::ops::Range<usize> {
    let start = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[start..].find(['/', '?']).map_or(url.len(), |at| start + at);
    let start = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_in_its_url() {
        let found = |url: &'static str| &url[authority(url)];
        assert_eq!(found("127.0.0.1:1"), "127.0.0.1:1");
        assert_eq!(found("postgres://a:p@host:5/db?sslmode=disable"), "host:5");
        assert_eq!(found("redis://host:6"), "host:6");
    }

    #[tokio::test]
    async fn the_way_through_the_proxy_keeps_everything_but_the_server() {
        let proxy = Proxy::to("postgres://a:p@host:5/db?x=1");
        assert_eq!(proxy.url(), format!("postgres://a:p@{}/db?x=1", proxy.addr()));
    }
}
