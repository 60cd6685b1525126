//! The smallest service with Insula inside: two users ask the same agent at the same time, and neither meets the other.
//!
//! Nothing is stored beyond the process here. With `insula-sqlite` in the place of the memory backend, everything is.

use std::error::Error;

use insula_agent::agent_fn;
use insula_context::{RunId, ScopeIssuer, ThreadId, UserExecutionContext};
use insula_engine::{ExecutionEngineFactory, MemoryBackend};
use insula_factory::IsolationReport;
use insula_registry::{AgentClass, AgentClassRegistry};
use serde_json::{Value, json};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "printing is all that this service does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let greeter = AgentClass::new("greeter", "1", || {
        agent_fn(|session, input| async move {
            session.think("looking for a nice word");
            Ok(json!(format!("Salve, {}!", input["name"].as_str().unwrap_or("stranger"))))
        })
    });
    let registry = AgentClassRegistry::builder().register(greeter).freeze()?;
    let engines = ExecutionEngineFactory::builder(registry, MemoryBackend::new().into_backend()).build();

    let (ada, ben) = tokio::try_join!(greet(&engines, "ada"), greet(&engines, "ben"))?;
    println!("ada was told: {ada}\nben was told: {ben}");
    let IsolationReport { live, violations } = engines.isolation_report();
    println!("{} instances live, {} isolation violations", live.len(), violations.len());
    Ok(())
}

/// One request: in a service, the user's name comes from whoever checked the credentials.
#[expect(clippy::disallowed_methods, reason = "this example plays the authenticator")]
async fn greet(engines: &ExecutionEngineFactory, user: &str) -> Result<Value, Box<dyn Error>> {
    let scope = ScopeIssuer::new().issue("acme", user)?;
    let context = UserExecutionContext::builder(scope, ThreadId::new("hello")?, RunId::new("first")?).build()?;
    let outcome = engines.create_for_user(&context)?.execute_agent(&context, "greeter", json!({"name": user})).await?;
    Ok(outcome.result().cloned().ok_or("the run gave no result")?)
}
