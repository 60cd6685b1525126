//! Builds contexts and refuses what the context itself answers for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    Cancellation, Clock, ConnectionId, Deadline, Error, IdSource, MAX_DEPTH, RequestId, RunId, SessionId, ThreadId,
    TraceContext, UserExecutionContext, UserScope,
    context::{Inner, RESERVED_KEYS},
    time::{shared_clock, shared_ids},
};

/// Builds a [`UserExecutionContext`]; made by [`UserExecutionContext::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ContextBuilder {
    scope: UserScope,
    thread: ThreadId,
    run: RunId,
    session: Option<SessionId>,
    request: Option<RequestId>,
    connection: Option<ConnectionId>,
    timeout: Option<Duration>,
    cancellation: Cancellation,
    trace: Option<TraceContext>,
    data: BTreeMap<String, Value>,
    audit: BTreeMap<String, Value>,
    depth: u8,
    ids: Option<Arc<dyn IdSource>>,
    clock: Option<Arc<dyn Clock>>,
}

impl ContextBuilder {
    pub(crate) fn new(scope: UserScope, thread: ThreadId, run: RunId) -> Self {
        Self {
            scope,
            thread,
            run,
            session: None,
            request: None,
            connection: None,
            timeout: None,
            cancellation: Cancellation::never(),
            trace: None,
            data: BTreeMap::new(),
            audit: BTreeMap::new(),
            depth: 0,
            ids: None,
            clock: None,
        }
    }

    /// The login session outside.
    pub fn session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// The inbound request's own id; a fresh one otherwise.
    pub fn request(mut self, request: RequestId) -> Self {
        self.request = Some(request);
        self
    }

    /// The connection that asks.
    pub fn connection(mut self, connection: ConnectionId) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Everything under the context must end within this time, counted from [`ContextBuilder::build`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Puts the context below an existing cancellation.
    pub fn cancellation(mut self, cancellation: Cancellation) -> Self {
        self.cancellation = cancellation;
        self
    }

    /// The trace to continue.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.trace = Some(trace);
        self
    }

    /// Adds one entry for the agents.
    pub fn data(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }

    /// Adds one entry for the audit.
    pub fn audit(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.audit.insert(key.into(), value.into());
        self
    }

    /// How deep it stands below the context that somebody asked with, of a run that is resumed; 0 unless told otherwise.
    pub fn depth(mut self, depth: u8) -> Self {
        self.depth = depth;
        self
    }

    /// Where ids come from: [`RandomIds`](crate::RandomIds) unless told otherwise.
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = Some(ids);
        self
    }

    /// Where the date comes from: [`SystemClock`](crate::SystemClock) unless told otherwise.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The finished context.
    ///
    /// # Errors
    /// [`Error::ReservedKey`] when a data or audit entry uses one of [`RESERVED_KEYS`], [`Error::TooDeep`] below
    /// [`MAX_DEPTH`].
    pub fn build(self) -> Result<UserExecutionContext, Error> {
        if self.depth > MAX_DEPTH {
            return Err(Error::TooDeep { depth: self.depth });
        }
        refuse_reserved(&self.data)?;
        refuse_reserved(&self.audit)?;
        let ids = self.ids.unwrap_or_else(shared_ids);
        let clock = self.clock.unwrap_or_else(shared_clock);
        Ok(UserExecutionContext::from_inner(Inner {
            request: self.request.unwrap_or_else(|| RequestId::generate(&*ids)),
            created_at: clock.now(),
            deadline: self.timeout.map(Deadline::after),
            scope: self.scope,
            session: self.session,
            thread: self.thread,
            run: self.run,
            parent_request: None,
            connection: self.connection,
            operation: None,
            depth: self.depth,
            cancellation: self.cancellation,
            trace: self.trace,
            data: Arc::new(self.data),
            audit: Arc::new(self.audit),
            ids,
            clock,
        }))
    }
}

fn refuse_reserved(map: &BTreeMap<String, Value>) -> Result<(), Error> {
    match map.keys().find(|key| RESERVED_KEYS.contains(&key.as_str())) {
        Some(key) => Err(Error::ReservedKey { key: key.clone() }),
        None => Ok(()),
    }
}
