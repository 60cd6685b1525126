//! The context of one execution: immutable, cheap to clone, and narrower with every child.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use crate::{
    Cancellation, Canceller, Clock, ConnectionId, ContextBuilder, Deadline, Error, IdSource, RequestId, RunId,
    SessionId, ThreadId, Timestamp, TraceContext, UserScope, audit::AuditView,
};

/// How many levels of children may stand below the first context.
pub const MAX_DEPTH: u8 = 10;

/// Keys that data and audit maps may not carry, because the context itself answers for them.
pub const RESERVED_KEYS: &[&str] = &[
    "tenant_id",
    "user_id",
    "session_id",
    "thread_id",
    "run_id",
    "request_id",
    "parent_request_id",
    "connection_id",
    "created_at",
    "depth",
    "operation",
    "deadline",
    "trace_id",
    "span_id",
];

type Map = Arc<BTreeMap<String, Value>>;

pub(crate) struct Inner {
    pub(crate) scope: UserScope,
    pub(crate) session: Option<SessionId>,
    pub(crate) thread: ThreadId,
    pub(crate) run: RunId,
    pub(crate) request: RequestId,
    pub(crate) parent_request: Option<RequestId>,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) operation: Option<Arc<str>>,
    pub(crate) depth: u8,
    pub(crate) created_at: Timestamp,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) cancellation: Cancellation,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) data: Map,
    pub(crate) audit: Map,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Who is asking, in which conversation and run, until when. Immutable; a clone is one counter.
///
/// Maps are copied in and handed out by reference: nobody who holds a context can change what another holder sees.
/// See the [crate's page](crate) for an example.
#[derive(Clone)]
pub struct UserExecutionContext(Arc<Inner>);

impl UserExecutionContext {
    /// Starts a context of one owner in one thread and run.
    pub fn builder(scope: UserScope, thread: ThreadId, run: RunId) -> ContextBuilder {
        ContextBuilder::new(scope, thread, run)
    }

    /// The owner.
    pub fn scope(&self) -> &UserScope {
        &self.0.scope
    }

    /// The login session outside, if there is one.
    pub fn session(&self) -> Option<&SessionId> {
        self.0.session.as_ref()
    }

    /// The conversation.
    pub fn thread(&self) -> &ThreadId {
        &self.0.thread
    }

    /// The execution.
    pub fn run(&self) -> &RunId {
        &self.0.run
    }

    /// This inbound request or child operation.
    pub fn request(&self) -> &RequestId {
        &self.0.request
    }

    /// The request that this one is a child of.
    pub fn parent_request(&self) -> Option<&RequestId> {
        self.0.parent_request.as_ref()
    }

    /// The connection that asked, if one did.
    pub fn connection(&self) -> Option<&ConnectionId> {
        self.0.connection.as_ref()
    }

    /// The name that a child was made under.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// How many contexts stand above this one: 0 to [`MAX_DEPTH`].
    pub fn depth(&self) -> u8 {
        self.0.depth
    }

    /// When the context was made.
    pub fn created_at(&self) -> Timestamp {
        self.0.created_at
    }

    /// The moment by which everything under this context must have ended.
    pub fn deadline(&self) -> Option<Deadline> {
        self.0.deadline
    }

    /// Tells when a stop was asked for.
    pub fn cancellation(&self) -> &Cancellation {
        &self.0.cancellation
    }

    /// The trace to continue.
    pub fn trace(&self) -> Option<&TraceContext> {
        self.0.trace.as_ref()
    }

    /// What the caller passed along for the agents.
    pub fn data(&self) -> &BTreeMap<String, Value> {
        &self.0.data
    }

    /// What the caller passed along for the audit.
    pub fn audit(&self) -> &BTreeMap<String, Value> {
        &self.0.audit
    }

    /// A child operation: same owner, thread, run and connection, a fresh request id, one level deeper. Stopping the
    /// parent stops the child; its deadline is the parent's.
    ///
    /// # Errors
    /// [`Error::Blank`] for a blank operation, [`Error::TooDeep`] below [`MAX_DEPTH`].
    pub fn child(&self, operation: &str) -> Result<Self, Error> {
        if operation.trim().is_empty() {
            return Err(Error::Blank { field: "operation" });
        }
        let depth = self.0.depth + 1;
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep { depth });
        }
        let mut inner = self.derive();
        inner.parent_request = Some(self.0.request.clone());
        inner.operation = Some(Arc::from(operation));
        inner.depth = depth;
        Ok(Self(Arc::new(inner)))
    }

    /// A child operation that is a run of its own: as [`UserExecutionContext::child`], with another run id.
    ///
    /// # Errors
    /// As [`UserExecutionContext::child`].
    pub fn child_run(&self, operation: &str, run: RunId) -> Result<Self, Error> {
        let mut inner = self.child(operation)?.copy();
        inner.run = run;
        Ok(Self(Arc::new(inner)))
    }

    /// A context for another run of the same owner in the same thread: a fresh request id, no parent, depth 0.
    #[must_use]
    pub fn for_run(&self, run: RunId) -> Self {
        let mut inner = self.derive();
        inner.run = run;
        inner.parent_request = None;
        inner.operation = None;
        inner.depth = 0;
        Self(Arc::new(inner))
    }

    /// A context for a first run of the same owner in another thread.
    #[must_use]
    pub fn for_thread(&self, thread: ThreadId, run: RunId) -> Self {
        let mut inner = self.copy();
        inner.thread = thread;
        Self(Arc::new(inner)).for_run(run)
    }

    /// A context for another run of the same owner in the same thread, with a fresh run id.
    #[must_use]
    pub fn next_run(&self) -> Self {
        self.for_run(RunId::generate(&*self.0.ids))
    }

    /// The same context below a new canceller, and with the earlier of the two deadlines.
    #[must_use]
    pub fn narrow(&self, deadline: Option<Deadline>) -> (Self, Canceller) {
        let canceller = self.0.cancellation.child();
        let mut inner = self.copy();
        inner.cancellation = canceller.cancellation();
        inner.deadline = match (self.0.deadline, deadline) {
            (Some(mine), Some(other)) => Some(mine.shorten(other)),
            (mine, other) => mine.or(other),
        };
        (Self(Arc::new(inner)), canceller)
    }

    /// The same context with no deadline and a cancellation that never comes: for what is owed after the end of what the
    /// context was made for.
    #[must_use]
    pub fn detached(&self) -> Self {
        let mut inner = self.copy();
        (inner.deadline, inner.cancellation) = (None, Cancellation::never());
        Self(Arc::new(inner))
    }

    /// The same context in another span of the trace.
    #[must_use]
    pub fn traced(&self, trace: TraceContext) -> Self {
        let mut inner = self.copy();
        inner.trace = Some(trace);
        Self(Arc::new(inner))
    }

    /// Everything about the context that an audit needs: ids, operation, depth, time, trace and the audit map. The data
    /// map is not part of it, because callers may pass content there.
    pub fn audit_view(&self) -> AuditView<'_> {
        AuditView {
            scope: &self.0.scope,
            session_id: self.session(),
            thread_id: &self.0.thread,
            run_id: &self.0.run,
            request_id: &self.0.request,
            parent_request_id: self.parent_request(),
            connection_id: self.connection(),
            operation: self.operation(),
            depth: self.0.depth,
            created_at: self.0.created_at,
            trace: self.trace(),
            audit: &self.0.audit,
        }
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    fn derive(&self) -> Inner {
        let mut inner = self.copy();
        inner.request = RequestId::generate(&*self.0.ids);
        inner.created_at = self.0.clock.now();
        inner
    }

    fn copy(&self) -> Inner {
        let Inner { scope, session, thread, run, request, parent_request, connection, operation, .. } = &*self.0;
        Inner {
            scope: scope.clone(),
            session: session.clone(),
            thread: thread.clone(),
            run: run.clone(),
            request: request.clone(),
            parent_request: parent_request.clone(),
            connection: connection.clone(),
            operation: operation.clone(),
            depth: self.0.depth,
            created_at: self.0.created_at,
            deadline: self.0.deadline,
            cancellation: self.0.cancellation.clone(),
            trace: self.0.trace.clone(),
            data: Arc::clone(&self.0.data),
            audit: Arc::clone(&self.0.audit),
            ids: Arc::clone(&self.0.ids),
            clock: Arc::clone(&self.0.clock),
        }
    }
}

impl std::fmt::Debug for UserExecutionContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserExecutionContext")
            .field("scope", &self.0.scope)
            .field("thread", &self.0.thread)
            .field("run", &self.0.run)
            .field("request", &self.0.request)
            .field("depth", &self.0.depth)
            .finish_non_exhaustive()
    }
}
