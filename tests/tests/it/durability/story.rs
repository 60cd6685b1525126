//! Tools that remember who called them.

use std::sync::{Arc, Mutex};

use insula_agent::{Effect, Result, Session, Tool, ToolCall, tool_fn};
use insula_context::UserScope;
use insula_registry::AgentClass;
use serde_json::Value;

use crate::engine::stage::spec;

/// Which tool was called for whom, and with which key. A clone is the same ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<(UserScope, String, String)>>>);

impl Ledger {
    pub(super) fn note(&self, tool: &str, call: &ToolCall) {
        let entry = (call.context().scope().clone(), tool.to_owned(), call.key().to_owned());
        self.0.lock().unwrap().push(entry);
    }

    /// The keys of a user's calls of a tool, in order.
    pub(super) fn keys(&self, scope: &UserScope, tool: &str) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        let own = entries.iter().filter(|(owner, name, _)| owner == scope && name == tool);
        own.map(|(_, _, key)| key.clone()).collect()
    }

    /// A tool that is noted here and answers with `answer`.
    pub(super) fn tool(
        &self,
        name: &'static str,
        effect: Effect,
        answer: fn() -> Result<Value>,
    ) -> impl Tool + 'static {
        let ledger = self.clone();
        tool_fn(spec(name).effect(effect), move |call: ToolCall, _: Value| {
            ledger.note(name, &call);
            async move { answer() }
        })
    }
}

/// A class of this name and version.
pub(super) fn versioned<F, Fut>(name: &str, version: &str, run: F) -> AgentClass
where
    F: Fn(Session, Value) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Value>> + Send + 'static,
{
    AgentClass::new(name, version, move || insula_agent::agent_fn(run.clone()))
}
