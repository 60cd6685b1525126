//! One connection through the proxy: two directions, which look at the fault before each step.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use super::{Counts, Fault};

/// Small enough that a throttle is smooth, large enough that passing is quick.
const PIECE: usize = 16 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

/// Until both sides are done, one of them fails, or it is cut.
pub(super) async fn carry(
    mut client: TcpStream,
    server: String,
    fault: watch::Receiver<Fault>,
    mut cut: watch::Receiver<()>,
    counts: Arc<Counts>,
) {
    let _open = Open::of(&counts.open);
    let mut upstream = None;
    let was_cut = tokio::select! {
        // What came to its end by itself is closed, and not answered with a reset.
        ended = forward(&mut client, &mut upstream, &server, fault, &counts) => ended.is_err(),
        _ = cut.changed() => true,
    };
    if was_cut {
        reset(&client);
        upstream.iter().for_each(reset);
    }
}

async fn forward(
    client: &mut TcpStream,
    upstream: &mut Option<TcpStream>,
    server: &str,
    mut fault: watch::Receiver<Fault>,
    counts: &Counts,
) -> io::Result<()> {
    may_go_on(&mut fault, Direction::Request, 0).await;
    let upstream = upstream.insert(TcpStream::connect(server).await?);
    upstream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = upstream.split();
    let requests = pump(from_client, to_server, fault.clone(), Direction::Request, &counts.requested);
    let answers = pump(from_server, to_client, fault, Direction::Answer, &counts.answered);
    tokio::try_join!(requests, answers)?;
    Ok(())
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut fault: watch::Receiver<Fault>,
    direction: Direction,
    count: &AtomicU64,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        may_go_on(&mut fault, direction, 0).await;
        let length = tokio::select! {
            length = from.read(&mut piece) => length?,
            // Looks again whether it may read at all.
            Ok(()) = fault.changed() => continue,
        };
        may_go_on(&mut fault, direction, length).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..length]).await?;
        count.fetch_add(length as u64, Ordering::SeqCst);
    }
}

/// Waits as long as the fault holds up a piece of this length. A fault that changes meanwhile is looked at anew.
async fn may_go_on(fault: &mut watch::Receiver<Fault>, direction: Direction, length: usize) {
    loop {
        let now = *fault.borrow_and_update();
        match holds_up(now, direction, length) {
            Some(Duration::ZERO) => return,
            Some(wait) => tokio::select! {
                () = tokio::time::sleep(wait) => return,
                Ok(()) = fault.changed() => {}
            },
            // An error says that the proxy is gone, and this task is about to be.
            None => drop(fault.changed().await),
        }
    }
}

/// For how long; `None` is until the fault ends.
fn holds_up(fault: Fault, direction: Direction, length: usize) -> Option<Duration> {
    match fault {
        Fault::Pass | Fault::Refuse => Some(Duration::ZERO),
        Fault::BlackHole => None,
        Fault::HoldAnswers if direction == Direction::Answer => None,
        Fault::HoldAnswers => Some(Duration::ZERO),
        Fault::Delay(_) if length == 0 => Some(Duration::ZERO),
        Fault::Delay(wait) => Some(wait),
        Fault::Throttle(rate) => Some(Duration::from_nanos(length as u64 * 1_000_000_000 / rate.get())),
    }
}

/// Closing then tells the other side at once, and throws away what is still on its way.
fn reset(stream: &TcpStream) {
    // A connection that is closed already needs no more.
    let _ = stream.set_zero_linger();
}

/// Counts a connection for as long as it lives.
struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    fn of(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
