//! The one method that makes an agent.

use std::future::Future;

use async_trait::async_trait;
use serde_json::Value;

use crate::{Result, Session};

/// Something that turns an input into a result, with a session to act through.
///
/// Each run has an instance of its own, so `&mut self` is state of this run and of nobody else. The future is dropped
/// when the run is stopped or its time is up: hold nothing across an `await` that must be undone by more than a drop.
/// A result of `null` is "nothing", and the run fails with `returned_nothing`.
///
/// See the [crate's page](crate) for an example, and [`agent_fn`] for agents without state.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an agent",
    note = "implement `Agent` with `#[async_trait]`, or wrap an async closure with `insula_agent::agent_fn`"
)]
pub trait Agent: Send {
    /// Does the work.
    ///
    /// # Errors
    /// Whatever ends the run as failed. The message of the error is shown to the run's user; its source is not.
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value>;
}

/// An agent from a closure.
///
/// ```
/// use insula_agent::agent_fn;
/// use serde_json::json;
///
/// let doubler = agent_fn(|_session, input| async move { Ok(json!(input.as_i64().unwrap_or(0) * 2)) });
/// # fn is_agent(_: impl insula_agent::Agent) {}
/// # is_agent(doubler);
/// ```
pub fn agent_fn<F, Fut>(run: F) -> impl Agent
where
    F: FnMut(Session, Value) -> Fut + Send,
    Fut: Future<Output = Result<Value>> + Send,
{
    AgentFn(run)
}

struct AgentFn<F>(F);

#[async_trait]
impl<F, Fut> Agent for AgentFn<F>
where
    F: FnMut(Session, Value) -> Fut + Send,
    Fut: Future<Output = Result<Value>> + Send,
{
    async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
        (self.0)(session.clone(), input).await
    }
}
