//! Delivers a user's events to every connection of that user: from the log, in order, with resume from a cursor.
//!
//! A connection here is anything that takes events, a WebSocket for example. It is made from a [`UserScope`], so nothing
//! is processed before its user is authenticated. A connection that is slow waits for itself: its events stay in the
//! log, and neither a run nor another connection notices.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{AbortHandle, BoxStream, SelectAll, abortable, unfold},
};
use insula_context::{CancelReason, Cancellation, Canceller, ConnectionId, ThreadId, Timestamp, UserScope};
use tokio::sync::mpsc;

use crate::{Error, EventStream, StreamItem, limits::Permit, platform::Platform};

/// A connection is gone after this many heartbeats without a sign of life.
const MISSED_HEARTBEATS: u32 = 3;
/// How long to wait for a log that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Commands that a connection may have waiting; whoever sends more waits.
const COMMANDS: usize = 64;

/// The far end of a connection.
#[async_trait]
pub trait Delivery: Send + 'static {
    /// Hands over what came next in one thread, in order. Waits as long as the far end takes nothing more; meanwhile nothing
    /// is read.
    ///
    /// # Errors
    /// When the far end is gone. The connection is closed then; the log still has everything.
    async fn deliver(&mut self, batch: Batch) -> Result<(), Gone>;
}

/// What came next in one thread.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The thread.
    pub thread: ThreadId,
    /// At least one item, in order.
    pub items: Vec<StreamItem>,
    /// The `seq` of the last event that was read.
    pub cursor: u64,
    /// The `seq` of the thread's last event when that was read: how far the reader is behind.
    pub head: u64,
}

/// The far end of a connection is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the far end of the connection is gone")]
pub struct Gone;

/// Opens connections. Made by [`ExecutionEngineFactory::bridge`](crate::ExecutionEngineFactory::bridge).
#[derive(Clone)]
pub struct WebSocketBridge {
    platform: Arc<Platform>,
}

enum Command {
    Subscribe { thread: ThreadId, after: u64 },
    Unsubscribe { thread: ThreadId },
}

/// An open connection. Dropping it closes it.
pub struct Connection {
    id: ConnectionId,
    commands: mpsc::Sender<Command>,
    presence: Arc<Presence>,
    closer: Canceller,
}

/// Whether somebody is there.
struct Presence {
    platform: Arc<Platform>,
    heard_at: Mutex<Timestamp>,
    gone: AtomicBool,
}

impl Presence {
    fn heard(&self) -> bool {
        let here = self.is_here();
        if here {
            *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = self.platform.clock.now();
        }
        here
    }

    fn is_here(&self) -> bool {
        !self.gone.load(Ordering::Acquire) && !self.patience().is_zero()
    }

    /// How long the next sign of life may take.
    fn patience(&self) -> Duration {
        let heard_at = *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = self.platform.clock.now().since(heard_at);
        (self.platform.limits().heartbeat * MISSED_HEARTBEATS).saturating_sub(silent)
    }
}

impl WebSocketBridge {
    pub(crate) fn new(platform: Arc<Platform>) -> Self {
        Self { platform }
    }

    /// Opens a connection of a user. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Limit`] when the user has as many connections as allowed; those are unaffected.
    pub fn connect(&self, scope: &UserScope, id: ConnectionId, far_end: impl Delivery) -> Result<Connection, Error> {
        let permit = self.platform.ledger.account(scope).connection()?;
        let presence = Arc::new(Presence {
            platform: Arc::clone(&self.platform),
            heard_at: Mutex::new(self.platform.clock.now()),
            gone: AtomicBool::new(false),
        });
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let closer = Canceller::new();
        let pump = Pump {
            scope: scope.clone(),
            presence: Arc::clone(&presence),
            streams: SelectAll::new(),
            handles: HashMap::new(),
            far_end,
            _permit: permit,
        };
        tokio::spawn(pump.run(inbox, closer.cancellation()));
        Ok(Connection { id, commands, presence, closer })
    }
}

impl Connection {
    /// Its id.
    pub fn id(&self) -> &ConnectionId {
        &self.id
    }

    /// Delivers the events of one of the user's threads with `seq > after`, and those that follow. Another subscription
    /// to the same thread replaces this one. Commands are processed in order.
    ///
    /// # Errors
    /// [`Gone`] when the connection is closed.
    pub async fn subscribe(&self, thread: ThreadId, after: u64) -> Result<(), Gone> {
        self.commands.send(Command::Subscribe { thread, after }).await.map_err(|_| Gone)
    }

    /// Delivers no more events of a thread.
    ///
    /// # Errors
    /// [`Gone`] when the connection is closed.
    pub async fn unsubscribe(&self, thread: ThreadId) -> Result<(), Gone> {
        self.commands.send(Command::Unsubscribe { thread }).await.map_err(|_| Gone)
    }

    /// Takes note of a sign of life. A connection that was given up does not come back.
    ///
    /// # Errors
    /// [`Gone`] when it was given up or closed.
    pub fn heartbeat(&self) -> Result<(), Gone> {
        if self.presence.heard() { Ok(()) } else { Err(Gone) }
    }

    /// Whether it is open and gave a sign of life lately.
    pub fn is_present(&self) -> bool {
        self.presence.is_here()
    }

    /// Closes it.
    pub fn close(self) {}
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closer.cancel(CancelReason::new("client", "the connection was closed"));
    }
}

/// Carries events from the log to one far end.
struct Pump<D> {
    scope: UserScope,
    presence: Arc<Presence>,
    streams: SelectAll<BoxStream<'static, Batch>>,
    handles: HashMap<ThreadId, AbortHandle>,
    far_end: D,
    _permit: Permit,
}

impl<D: Delivery> Pump<D> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, closed: Cancellation) {
        let presence = Arc::clone(&self.presence);
        // Beside the pumping, because a far end that does not take anything must not keep itself alive.
        tokio::select! {
            _ = closed.cancelled() => {}
            () = silence(&presence) => {}
            () = self.pump(&mut inbox) => {}
        }
        presence.gone.store(true, Ordering::Release);
    }

    async fn pump(&mut self, inbox: &mut mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                Some(batch) = self.streams.next() => {
                    if self.far_end.deliver(batch).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Subscribe { thread, after } => {
                let stream = EventStream::thread(&self.presence.platform.backend, &self.scope, &thread, after);
                let (stream, handle) = abortable(batches(thread.clone(), stream));
                if let Some(before) = self.handles.insert(thread, handle) {
                    before.abort();
                }
                self.streams.push(stream.boxed());
            }
            Command::Unsubscribe { thread } => {
                if let Some(handle) = self.handles.remove(&thread) {
                    handle.abort();
                }
            }
        }
    }
}

/// Ends when nobody has given a sign of life for too long.
async fn silence(presence: &Presence) {
    loop {
        let patience = presence.patience();
        if patience.is_zero() {
            return;
        }
        tokio::time::sleep(patience).await;
    }
}

/// A thread's events, as many at once as are there. A log that does not answer is asked again.
fn batches(thread: ThreadId, stream: EventStream) -> impl futures::Stream<Item = Batch> + Send {
    unfold(stream, move |mut stream| {
        let thread = thread.clone();
        async move {
            let items = loop {
                match stream.batch().await {
                    Ok(items) => break items?,
                    Err(error) => {
                        tracing::warn!(%thread, %error, "a connection waits for the log");
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                }
            };
            Some((Batch { thread, items, cursor: stream.cursor(), head: stream.head() }, stream))
        }
    })
}
