//! One open socket: what comes is obeyed in order, what is to go is written in chunks, and neither waits for the other.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use insula_engine::Connection;
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::far_end::{Chunk, text};
use crate::{
    auth::{Principal, Validity},
    http::origin::Origin,
    metrics::Open,
    service::Service,
    wire::Frame,
};

/// How long the client may take to hear that the socket is being closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has left, or does not answer any more.
    Left,
    /// The server is going down.
    Closing,
    /// The credential is not worth anything any more.
    Expired,
    /// What came was no text, or too large.
    Refused(u16, &'static str),
}

/// An open socket, and everything that it holds.
pub(super) struct Session {
    pub(super) server: Service,
    pub(super) principal: Principal,
    pub(super) origin: Origin,
    pub(super) connection: Connection,
    outbox: mpsc::Sender<Chunk>,
    validity: Option<Validity>,
    _open: Open,
    /// The server's end waits for it.
    _task: TaskTrackerToken,
}

impl Session {
    pub(super) fn new(
        server: &Service,
        principal: Principal,
        origin: Origin,
        connection: Connection,
        outbox: mpsc::Sender<Chunk>,
    ) -> Self {
        Self {
            validity: Some(server.auth.watch(&principal)),
            _open: server.metrics.socket_opened(),
            _task: server.tasks.token(),
            server: server.clone(),
            principal,
            origin,
            connection,
            outbox,
        }
    }

    /// Until either side ends it. What runs the client has started goes on.
    pub(super) async fn run(mut self, socket: WebSocket, mut chunks: mpsc::Receiver<Chunk>) {
        let (mut sink, mut stream) = socket.split();
        let heartbeat = self.server.engine.limits().heartbeat;
        let closing = self.server.closing.clone();
        let validity = self.validity.take();
        let over = async {
            match validity {
                Some(mut validity) => validity.over().await,
                None => std::future::pending().await,
            }
        };
        let end = tokio::select! {
            biased;
            () = closing.cancelled() => End::Closing,
            () = over => End::Expired,
            () = self.silence(heartbeat) => End::Left,
            () = write(&mut sink, &mut chunks, heartbeat) => End::Left,
            end = self.read(&mut stream) => end,
        };
        let _gone_already = tokio::time::timeout(FAREWELL, farewell(&mut sink, end)).await;
        if let End::Refused(..) = end {
            // What the client still sends is not read any more. To close at once would reset the connection, and take the
            // reason away from a client that has not read it yet.
            tokio::time::sleep(FAREWELL).await;
        }
    }

    /// Ends when the client has given no sign of life for too long. Beside the writing, which may wait for the client for ever.
    async fn silence(&self, heartbeat: Duration) {
        while self.connection.is_present() {
            tokio::time::sleep(heartbeat).await;
        }
    }

    async fn read(&self, stream: &mut SplitStream<WebSocket>) -> End {
        while let Some(message) = stream.next().await {
            let message = match message {
                Ok(message) => message,
                Err(error) => return broken(&error),
            };
            // Whoever was given up does not come back.
            if self.connection.heartbeat().is_err() {
                return End::Left;
            }
            match message {
                Message::Text(text) => {
                    if self.obey(&text).await.is_err() {
                        return End::Left;
                    }
                }
                Message::Binary(_) => return End::Refused(close_code::UNSUPPORTED, "frames are text"),
                Message::Close(_) => return End::Left,
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
        End::Left
    }

    /// Says something. Waits while the client takes nothing.
    ///
    /// # Errors
    /// When nobody writes any more.
    pub(super) async fn say(&self, frame: &Frame<'_>) -> Result<(), Closed> {
        self.outbox.send(vec![text(frame)]).await.map_err(|_| Closed)
    }
}

/// The socket is closed.
#[derive(Debug)]
pub(super) struct Closed;

/// What the client did wrong, where it was the client.
fn broken(error: &axum::Error) -> End {
    let words = error.to_string();
    if words.contains("too long") || words.contains("too big") {
        End::Refused(close_code::SIZE, "a frame has at most 1 MiB")
    } else if words.contains("UTF-8") {
        End::Refused(close_code::INVALID, "frames are UTF-8")
    } else {
        End::Left
    }
}

/// Writes what there is, all of it at once, and asks for a sign of life now and then. Ends when the client is gone.
async fn write(sink: &mut SplitSink<WebSocket, Message>, chunks: &mut mpsc::Receiver<Chunk>, heartbeat: Duration) {
    let mut beat = tokio::time::interval(heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat.reset();
    loop {
        let written = tokio::select! {
            chunk = chunks.recv() => match chunk {
                Some(chunk) => write_all(sink, chunk, chunks).await,
                None => return,
            },
            _ = beat.tick() => sink.send(Message::Ping(Default::default())).await,
        };
        if written.is_err() {
            return;
        }
    }
}

async fn write_all(
    sink: &mut SplitSink<WebSocket, Message>,
    first: Chunk,
    chunks: &mut mpsc::Receiver<Chunk>,
) -> Result<(), axum::Error> {
    let mut next = Some(first);
    while let Some(chunk) = next {
        for frame in chunk {
            sink.feed(Message::Text(frame)).await?;
        }
        next = chunks.try_recv().ok();
    }
    sink.flush().await
}

async fn farewell(sink: &mut SplitSink<WebSocket, Message>, end: End) {
    let (code, reason) = match end {
        End::Left => (close_code::NORMAL, ""),
        End::Closing => (close_code::AWAY, "the server is going down: come back with your cursors"),
        End::Expired => (close_code::POLICY, "the credential is not valid any more"),
        End::Refused(code, reason) => (code, reason),
    };
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    let _gone_already = sink.send(Message::Close(Some(frame))).await;
}
