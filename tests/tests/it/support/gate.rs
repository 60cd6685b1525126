//! Agents that are held at a gate until the test lets them through: a run "in progress", for as long as it is needed.

use std::sync::Arc;

use insula_agent::agent_fn;
use insula_registry::AgentClass;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Gauge;

/// A gate, and who stands at it. A clone is the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    open: Arc<Semaphore>,
    inside: Gauge,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { open: Arc::new(Semaphore::new(0)), inside: Gauge::default() }
    }

    /// A class whose agents wait at the gate and then return what they were given, with the mark of the instance.
    pub(crate) fn class(&self, name: &str) -> AgentClass {
        let gate = self.clone();
        AgentClass::new(name, "1", move || {
            let gate = gate.clone();
            agent_fn(move |session, input| {
                let gate = gate.clone();
                async move {
                    gate.pass().await;
                    Ok(json!({"echo": input, "marker": session.marker()}))
                }
            })
        })
    }

    /// Stands at the gate until it is let through.
    pub(crate) async fn pass(&self) {
        let _inside = self.inside.enter();
        self.open.acquire().await.expect("a gate is never closed").forget();
    }

    /// Waits until that many stand at the gate.
    pub(crate) async fn wait_for(&self, waiting: usize) {
        super::until(&format!("{waiting} runs stand at the gate"), || self.inside.now() == waiting).await;
    }

    /// Lets that many through.
    pub(crate) fn let_through(&self, runs: usize) {
        self.open.add_permits(runs);
    }

    pub(crate) fn inside(&self) -> &Gauge {
        &self.inside
    }
}
