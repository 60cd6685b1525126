//! Engines to measure, on either store.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use insula_agent::{Tool, ToolSpec, agent_fn, kit, tool_fn};
use insula_context::{RunId, ScopeIssuer, ThreadId, UserExecutionContext, UserScope};
use insula_engine::{AgentThreads, ExecutionEngineFactory, Limits, Tools};
use insula_infra::{Backend, MemoryBackend};
use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::json;

/// Where runs are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Memory,
    Sqlite,
}

impl Store {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite FULL",
        }
    }

    pub(crate) fn open(self, folder: &Path) -> Result<Backend> {
        Ok(match self {
            Self::Memory => MemoryBackend::new().into_backend(),
            Self::Sqlite => insula_sqlite::SqliteBackend::open(folder.join("insula.db"))?.into_backend(),
        })
    }
}

/// Calls one tool and answers: the unit of work of every comparison.
pub(crate) const ONE_TOOL: &str = "one-tool";

fn registry() -> Result<AgentClassRegistry> {
    let one_tool = || {
        agent_fn(|session, _| async move {
            let sum = session.call_tool("tally", json!({"n": 41})).await?;
            Ok(json!({"answer": sum}))
        })
    };
    Ok(AgentClassRegistry::builder()
        .register(AgentClass::new("noop", "1", kit::noop))
        .register(AgentClass::new(ONE_TOOL, "1", one_tool))
        .register(AgentClass::new("chatty", "1", || kit::chatty(1_000)))
        .register(AgentClass::new("park", "1", || kit::sleep(std::time::Duration::from_secs(3_600))))
        .freeze()?)
}

/// A tool whose effect somebody outside could see, so that its start must be durable before it runs.
fn seen_tool() -> impl Tool {
    let spec = ToolSpec::new::<kit::Tally>("tally").effect(insula_agent::Effect::Idempotent);
    tool_fn(spec, |_, kit::Tally { n }| async move { Ok(n + 1) })
}

pub(crate) fn factory(backend: Backend, threads: AgentThreads) -> Result<ExecutionEngineFactory> {
    let most = 1_000_000;
    let limits = Limits { engines: most, running: most, claimed: most, ..Limits::default() };
    Ok(ExecutionEngineFactory::builder(registry()?, backend)
        .tools(Tools::new().with_arc(Arc::new(seen_tool())))
        .limits(limits)
        .agent_threads(threads)
        .build())
}

/// User number `n`.
pub(crate) fn user(n: usize) -> UserScope {
    ScopeIssuer::new().issue("bench", format!("user-{n}")).expect("a valid name")
}

/// A first context of a user.
pub(crate) fn context(user: &UserScope, n: usize) -> UserExecutionContext {
    let thread = ThreadId::new(format!("thread-{n}")).expect("a valid id");
    let run = RunId::generate(&insula_context::RandomIds);
    UserExecutionContext::builder(user.clone(), thread, run).build().expect("no reserved keys")
}

/// A runtime with this many workers.
pub(crate) fn runtime(workers: usize) -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?)
}
