//! One instance: made for one owner, run once, gone when dropped.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use insula_agent::{Agent, InstanceMarker, Session};
use insula_context::{UserExecutionContext, UserScope};
use insula_registry::AgentClass;
use serde_json::Value;

use crate::{
    Error, Violation,
    live::{Entry, LiveTable},
};

/// An agent that belongs to one owner. It cannot be cloned, and running it uses it up.
pub struct AgentInstance {
    agent: Box<dyn Agent>,
    entry: Arc<Entry>,
    table: Arc<LiveTable>,
}

impl AgentInstance {
    pub(crate) fn new(agent: Box<dyn Agent>, entry: Arc<Entry>, table: Arc<LiveTable>) -> Self {
        Self { agent, entry, table }
    }

    /// Its mark.
    pub fn marker(&self) -> InstanceMarker {
        self.entry.marker
    }

    /// Its owner.
    pub fn owner(&self) -> &UserScope {
        self.entry.context.scope()
    }

    /// The context that it was made in.
    pub fn context(&self) -> &UserExecutionContext {
        &self.entry.context
    }

    /// Its class.
    pub fn class(&self) -> &Arc<AgentClass> {
        &self.entry.class
    }

    /// Whether it may run for the owner of `context`. A refusal is a [`Violation`] in the isolation report.
    ///
    /// # Errors
    /// [`Error::Foreign`] for somebody else's context, [`Error::Released`] after its owner was cleaned up.
    pub fn admit(&self, context: &UserExecutionContext) -> Result<(), Error> {
        if context.scope() != self.owner() {
            self.table.violated(Violation::ForeignContext {
                marker: self.marker(),
                owner: self.owner().clone(),
                offered: context.scope().clone(),
            });
            return Err(Error::Foreign);
        }
        if self.entry.released.load(Ordering::Acquire) {
            return Err(Error::Released);
        }
        Ok(())
    }

    /// Runs it once, for its owner only.
    ///
    /// # Errors
    /// The outer error when it was refused and did not run; the inner one is the agent's own.
    pub async fn run(
        mut self,
        mut session: Session,
        input: Value,
    ) -> Result<Result<Value, insula_agent::Error>, Error> {
        self.admit(session.context())?;
        Ok(self.agent.run(&mut session, input).await)
    }
}

impl Drop for AgentInstance {
    fn drop(&mut self) {
        self.table.leave(&self.entry);
    }
}

impl fmt::Debug for AgentInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentInstance({:?} of {}, {})", self.class(), self.owner(), self.marker())
    }
}
