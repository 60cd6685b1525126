//! A user's tools, called from outside of an agent.

use std::sync::{Arc, Mutex, PoisonError};

use insula_agent::{Error as AgentError, Tool, ToolFailure, agent_fn};
use insula_context::UserExecutionContext;
use insula_registry::AgentClass;
use serde_json::Value;

use crate::{End, Error, engine::EngineCore};

/// Calls a user's tools. A call from here is a run of its own, so it is limited, stopped and logged like everything else.
#[derive(Clone)]
pub struct ToolDispatcher {
    engine: Arc<EngineCore>,
}

impl ToolDispatcher {
    pub(crate) fn new(engine: Arc<EngineCore>) -> Self {
        Self { engine }
    }

    /// The names of this user's tools, sorted.
    pub fn names(&self) -> Vec<String> {
        self.engine.tools().names(self.engine.context().scope())
    }

    /// The tool of this name, if this user has it.
    pub fn tool(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.engine.tools().tool(self.engine.context().scope(), name)
    }

    /// Calls a tool once, in the thread and as the run that the context says.
    ///
    /// # Errors
    /// The outer error when the run was refused; the inner one says what became of the call.
    pub async fn call(
        &self,
        context: &UserExecutionContext,
        tool: &str,
        arguments: Value,
    ) -> Result<Result<Value, AgentError>, Error> {
        self.engine.admit(context)?;
        // The tool's own error would reach us only as words: it is kept here as it was.
        let kept = Arc::new(Mutex::new(None));
        let class = one_call(tool, Arc::clone(&kept));
        let outcome = self.engine.execute(context, Arc::new(class), None, arguments).await?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(match (outcome.end, kept) {
            (_, Some(answer)) => answer,
            (End::Completed(result), None) => Ok(result),
            (end, None) => {
                let failure = ToolFailure::Stopped { why: end.message().unwrap_or_default() };
                Err(AgentError::Tool { tool: tool.to_owned(), failure, cause: None })
            }
        })
    }
}

type Kept = Arc<Mutex<Option<Result<Value, AgentError>>>>;

fn one_call(tool: &str, kept: Kept) -> AgentClass {
    let name = tool.to_owned();
    AgentClass::new(format!("tool:{tool}"), "1", move || {
        let (name, kept) = (name.clone(), Arc::clone(&kept));
        agent_fn(move |session, arguments| {
            let (name, kept) = (name.clone(), Arc::clone(&kept));
            async move {
                let answer = session.call_tool(&name, arguments).await;
                let said = match &answer {
                    Ok(Value::Null) => Ok(Value::Bool(true)),
                    Ok(result) => Ok(result.clone()),
                    Err(error) => Err(AgentError::failed(error.to_string())),
                };
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
                said
            }
        })
    })
}
