//! Tools: what an agent may do to the world, with what that means declared beside it.

mod made;
mod spec;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use insula_context::{Amounts, UserExecutionContext};
use serde_json::Value;

use self::made::{ReconciledBy, UndoneBy};
pub use self::{
    made::tool_fn,
    spec::{Effect, ToolSpec},
};
use crate::{Cache, Database, Error, Result, Space, StateHandle, host::Resources};

/// One call of a tool: who asks, and what the tool may use.
#[derive(Clone)]
pub struct ToolCall {
    id: String,
    key: String,
    resources: Arc<dyn Resources>,
    context: UserExecutionContext,
    attempt: u32,
    spent: SpentSoFar,
}

/// What a call of a tool has reported as spent. A clone is the same account.
#[derive(Debug, Clone, Default)]
pub struct SpentSoFar(Arc<Mutex<Amounts>>);

impl SpentSoFar {
    /// Nothing was reported yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to it.
    pub fn add(&self, amounts: Amounts) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = spent.plus(amounts);
    }

    /// All of it.
    pub fn total(&self) -> Amounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ToolCall {
    /// A call with its id, its idempotency key and the context that it is made in.
    pub fn new(id: String, key: String, context: UserExecutionContext, resources: Arc<dyn Resources>) -> Self {
        Self { id, key, resources, context, attempt: 1, spent: SpentSoFar::new() }
    }

    /// The same call made again: the same id, the same key, and what was spent before is spent.
    #[must_use]
    pub fn attempted(&self, attempt: u32) -> Self {
        Self { attempt, ..self.clone() }
    }

    /// Which attempt it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Reports what the call has spent, as soon as it is known: it counts also when the call fails or is stopped.
    /// Several reports add up. The call itself, its time and the size of its result are counted by themselves.
    pub fn spent(&self, amounts: Amounts) {
        self.spent.add(amounts);
    }

    /// What was reported so far.
    pub fn spent_so_far(&self) -> &SpentSoFar {
        &self.spent
    }

    /// The id that pairs `tool_executing` with `tool_completed`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The idempotency key: the same for every attempt of this call, and for no other call.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Who is asking, and until when.
    pub fn context(&self) -> &UserExecutionContext {
        &self.context
    }

    /// What agents remember.
    pub fn state(&self, space: Space) -> StateHandle<'_> {
        StateHandle::new(self.resources.state(), space)
    }

    /// The owner's own database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is configured.
    pub fn database(&self) -> Result<Arc<dyn Database>> {
        self.resources.database()
    }

    /// The owner's own cache.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when none is configured.
    pub fn cache(&self) -> Result<Arc<dyn Cache>> {
        self.resources.cache()
    }
}

impl std::fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolCall").field("id", &self.id).field("context", &self.context).finish_non_exhaustive()
    }
}

/// Something an agent may call by name. One value serves all users at once, so it holds nothing of any of them.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tool",
    note = "implement `Tool` with `#[async_trait]`, or wrap a closure with `insula_agent::tool_fn`"
)]
pub trait Tool: Send + Sync {
    /// What it is called, what it takes and what it may do.
    fn spec(&self) -> &ToolSpec;

    /// Does it. The future is dropped when the call is stopped or its time is up.
    ///
    /// # Errors
    /// Whatever the agent is to be told; the source is for the operator alone.
    async fn call(&self, call: ToolCall, arguments: Value) -> Result<Value>;

    /// Finds out whether a call took effect whose process was lost meanwhile, by the call's [key](ToolCall::key) for
    /// example. Asked of tools whose calls must not be repeated ([`Effect::Once`], [`Effect::Compensable`]); when it does
    /// not know, a human is asked.
    ///
    /// # Errors
    /// Counts as not knowing.
    async fn reconcile(&self, call: ToolCall, arguments: Value) -> Result<Reconciled> {
        let _ = (call, arguments);
        Ok(Reconciled::Unknown)
    }

    /// Undoes a call that gave `result`, because its run failed or was stopped. Called for [`Effect::Compensable`] alone,
    /// latest call first. It may be called again after a crash, with the same [key](ToolCall::key).
    ///
    /// # Errors
    /// What was done stays done, and the run's log says so.
    async fn undo(&self, call: ToolCall, arguments: Value, result: Value) -> Result<()> {
        let _ = (call, arguments, result);
        Err(Error::failed(format!("the tool \"{}\" has no undo", self.spec().name)))
    }

    /// The same tool, which finds out with `reconcile` whether an interrupted call took effect.
    fn reconciled_by<F, Fut>(self, reconcile: F) -> impl Tool + use<Self, F, Fut>
    where
        Self: Sized,
        F: Fn(ToolCall, Value) -> Fut + Send + Sync,
        Fut: Future<Output = Result<Reconciled>> + Send,
    {
        ReconciledBy { tool: self, reconcile }
    }

    /// The same tool, whose calls are undone by `undo`, which is given the arguments and the result.
    fn undone_by<F, Fut>(self, undo: F) -> impl Tool + use<Self, F, Fut>
    where
        Self: Sized,
        F: Fn(ToolCall, Value, Value) -> Fut + Send + Sync,
        Fut: Future<Output = Result<()>> + Send,
    {
        UndoneBy { tool: self, undo }
    }
}

/// What became of an interrupted call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Reconciled {
    /// It took effect, with this result.
    Happened(Value),
    /// It had no effect: it is done now.
    DidNotHappen,
    /// Somebody else has to say.
    Unknown,
}
