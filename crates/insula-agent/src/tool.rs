//! Tools: what an agent may do to the world, with what that means declared beside it.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{Amounts, UserExecutionContext};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    BreakerPolicy, Cache, Database, Error, Result, RetryPolicy, Space, StateHandle, ToolFailure, handles::to_json,
    host::Resources,
};

/// What it means to do something again. The engine obeys it after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing outside: repeat freely.
    Pure,
    /// May be repeated with the same key, which the tool is handed as [`ToolCall::key`].
    Idempotent,
    /// Must never be repeated blindly.
    Once,
    /// Can be undone.
    Compensable,
}

/// What a tool is called, what it takes and what it may do. Immutable once built.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    /// Its name: what agents call.
    pub name: String,
    /// What it does, in words for a model or a person.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub input: Value,
    /// What it means to call it again.
    pub effect: Effect,
    /// How long one call may take.
    pub timeout: Option<Duration>,
    /// How many calls of one user may be in flight.
    pub in_flight: Option<usize>,
    /// How many calls of one user are accepted within a window.
    pub rate: Option<(u64, Duration)>,
    /// The permission that the user must have.
    pub permission: Option<String>,
    /// When a call that failed is made again.
    pub retry: Option<RetryPolicy>,
    /// What it depends on, by the name under which all tools know it.
    pub dependency: Option<String>,
    /// When what it depends on is left alone.
    pub breaker: Option<BreakerPolicy>,
    /// What one call is expected to cost at most, beside itself as one call.
    pub cost: Amounts,
}

impl ToolSpec {
    /// A tool that takes arguments of the type `A`, with the JSON Schema of that type. Its effect is [`Effect::Once`]
    /// until another is declared, because that is the one that does no harm.
    pub fn new<A: JsonSchema>(name: impl Into<String>) -> Self {
        Self::with_schema(name, schemars::schema_for!(A).to_value())
    }

    /// A tool whose arguments are described by a schema that exists already.
    pub fn with_schema(name: impl Into<String>, input: Value) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            input,
            effect: Effect::Once,
            timeout: None,
            in_flight: None,
            rate: None,
            permission: None,
            retry: None,
            dependency: None,
            breaker: None,
            cost: Amounts::default(),
        }
    }

    /// What it does.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// What it means to call it again.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// A call that takes longer is stopped.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// More calls of one user at once are refused.
    #[must_use]
    pub fn in_flight(mut self, limit: usize) -> Self {
        self.in_flight = Some(limit);
        self
    }

    /// More calls of one user within the window are refused.
    #[must_use]
    pub fn rate(mut self, calls: u64, window: Duration) -> Self {
        self.rate = Some((calls, window));
        self
    }

    /// Only for users with this permission.
    #[must_use]
    pub fn permission(mut self, permission: impl Into<String>) -> Self {
        self.permission = Some(permission.into());
        self
    }

    /// Makes a call that failed again, within the same `tool_executing` and `tool_completed`. A call of a tool that must
    /// not be repeated is made again only after [a failure that had no effect](ToolFailure::had_no_effect).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Depends on something that other tools may depend on as well, and has a breaker on it: while it keeps failing,
    /// calls fail at once, for every user. Nobody learns more by that than that it is down.
    #[must_use]
    pub fn depends_on(mut self, dependency: impl Into<String>) -> Self {
        self.dependency = Some(dependency.into());
        self
    }

    /// When what it depends on is left alone. Without [a name](ToolSpec::depends_on) it is the tool itself.
    #[must_use]
    pub fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.breaker = Some(policy);
        self
    }

    /// What one call is expected to cost at most. That much is reserved before the call; what it
    /// [really cost](ToolCall::spent) takes its place afterwards.
    #[must_use]
    pub fn cost(mut self, estimate: Amounts) -> Self {
        self.cost = estimate;
        self
    }
}

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

struct ReconciledBy<T, F> {
    tool: T,
    reconcile: F,
}

#[async_trait]
impl<T, F, Fut> Tool for ReconciledBy<T, F>
where
    T: Tool,
    F: Fn(ToolCall, Value) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Reconciled>> + Send,
{
    fn spec(&self) -> &ToolSpec {
        self.tool.spec()
    }

    async fn call(&self, call: ToolCall, arguments: Value) -> Result<Value> {
        self.tool.call(call, arguments).await
    }

    async fn reconcile(&self, call: ToolCall, arguments: Value) -> Result<Reconciled> {
        (self.reconcile)(call, arguments).await
    }

    async fn undo(&self, call: ToolCall, arguments: Value, result: Value) -> Result<()> {
        self.tool.undo(call, arguments, result).await
    }
}

struct UndoneBy<T, F> {
    tool: T,
    undo: F,
}

#[async_trait]
impl<T, F, Fut> Tool for UndoneBy<T, F>
where
    T: Tool,
    F: Fn(ToolCall, Value, Value) -> Fut + Send + Sync,
    Fut: Future<Output = Result<()>> + Send,
{
    fn spec(&self) -> &ToolSpec {
        self.tool.spec()
    }

    async fn call(&self, call: ToolCall, arguments: Value) -> Result<Value> {
        self.tool.call(call, arguments).await
    }

    async fn reconcile(&self, call: ToolCall, arguments: Value) -> Result<Reconciled> {
        self.tool.reconcile(call, arguments).await
    }

    async fn undo(&self, call: ToolCall, arguments: Value, result: Value) -> Result<()> {
        (self.undo)(call, arguments, result).await
    }
}

/// A tool from a closure, with its arguments and its result typed.
///
/// ```
/// use insula_agent::{Effect, ToolSpec, tool_fn};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Add { a: i64, b: i64 }
///
/// let add = tool_fn(
///     ToolSpec::new::<Add>("add").describe("Adds two numbers.").effect(Effect::Pure),
///     |_call, Add { a, b }| async move { Ok(a + b) },
/// );
/// # fn is_tool(_: impl insula_agent::Tool) {}
/// # is_tool(add);
/// ```
pub fn tool_fn<A, R, F, Fut>(spec: ToolSpec, run: F) -> impl Tool
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(ToolCall, A) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R>> + Send,
{
    ToolFn { spec, run, types: std::marker::PhantomData }
}

struct ToolFn<F, A, R> {
    spec: ToolSpec,
    run: F,
    types: std::marker::PhantomData<fn(A) -> R>,
}

#[async_trait]
impl<A, R, F, Fut> Tool for ToolFn<F, A, R>
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
    F: Fn(ToolCall, A) -> Fut + Send + Sync,
    Fut: Future<Output = Result<R>> + Send,
{
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn call(&self, call: ToolCall, arguments: Value) -> Result<Value> {
        let arguments = serde_json::from_value(arguments).map_err(|e| Error::Tool {
            tool: self.spec.name.clone(),
            failure: ToolFailure::Arguments { problem: e.to_string() },
            cause: None,
        })?;
        let result = (self.run)(call, arguments).await;
        to_json(&self.spec.name, &result?)
    }
}
