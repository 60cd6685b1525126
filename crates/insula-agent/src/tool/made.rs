//! Tools made of closures and of other tools.

use std::future::Future;

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Reconciled, Tool, ToolCall, ToolSpec};
use crate::{Error, Result, ToolFailure, handles::to_json};

pub(super) struct ReconciledBy<T, F> {
    pub(super) tool: T,
    pub(super) reconcile: F,
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

pub(super) struct UndoneBy<T, F> {
    pub(super) tool: T,
    pub(super) undo: F,
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
