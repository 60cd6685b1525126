//! What stands below a session. An engine implements this; authors of agents never call it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::UserExecutionContext;
use serde_json::Value;

use crate::{Cache, Database, Effect, InstanceMarker, Question, Result, State};

/// Which call of a run: its place in the order of calls, and its name. The same code makes the same calls in the same
/// order, and that is what a resumed run is compared by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSite {
    /// 0 for the run's first recorded call, one more for each that follows.
    pub index: u32,
    /// The name of the step, tool or agent.
    pub name: String,
}

/// What agents and tools may use, bound to the run's owner.
pub trait Resources: Send + Sync {
    /// Who is asking, and until when.
    fn context(&self) -> &UserExecutionContext;
    /// What agents remember.
    fn state(&self) -> &dyn State;
    /// The owner's own database.
    ///
    /// # Errors
    /// When none is configured.
    fn database(&self) -> Result<Arc<dyn Database>>;
    /// The owner's own cache.
    ///
    /// # Errors
    /// When none is configured.
    fn cache(&self) -> Result<Arc<dyn Cache>>;
}

/// What a step begins with.
pub enum StepStart {
    /// It was done before, with this result.
    Recorded(Value),
    /// It is to be done now. The value is held while the work goes on.
    Now(Box<dyn Send + Sync>),
}

/// The engine's side of a [`Session`](crate::Session).
#[async_trait]
pub trait SessionHost: Send + Sync {
    /// What the agent may use.
    fn resources(&self) -> Arc<dyn Resources>;
    /// Who is asking, and until when.
    fn context(&self) -> &UserExecutionContext;
    /// The mark of the agent's instance.
    fn marker(&self) -> InstanceMarker;
    /// Whether recorded calls are being returned just now.
    fn replaying(&self) -> bool;
    /// Takes the next place in the order of calls.
    fn next_call(&self, name: &str) -> CallSite;
    /// Says something in words.
    fn think(&self, text: &str);
    /// Says something of the agent's own.
    fn emit(&self, name: &str, data: &Value);
    /// The recorded result of a step, or the right to do it now.
    async fn begin_step(&self, site: &CallSite, effect: Effect) -> Result<StepStart>;
    /// Records the result of a step.
    async fn end_step(&self, site: &CallSite, result: &Value) -> Result<()>;
    /// Calls a tool.
    async fn call_tool(&self, site: CallSite, arguments: Value) -> Result<Value>;
    /// Runs another agent as a child, within a time if one is given, and waits for its result.
    async fn call_agent(&self, site: CallSite, input: Value, within: Option<Duration>) -> Result<Value>;
    /// Asks a human and waits for the answer.
    async fn ask(&self, site: CallSite, question: Question) -> Result<Value>;
    /// Waits until a point in time.
    async fn sleep_until(&self, site: CallSite, until: insula_context::Timestamp) -> Result<()>;
    /// Waits.
    async fn sleep(&self, site: CallSite, duration: Duration) -> Result<()>;
    /// The time, recorded.
    async fn now(&self, site: CallSite) -> Result<insula_context::Timestamp>;
    /// 64 random bits, recorded.
    async fn random(&self, site: CallSite) -> Result<u64>;
}
