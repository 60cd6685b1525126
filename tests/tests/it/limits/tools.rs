//! Tools that fail as often as they are told, and tools that cost something.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use insula_agent::{Error, Result, Tool, ToolCall, ToolSpec, tool_fn};
use insula_context::Amounts;
use serde_json::{Value, json};

use crate::support::Gauge;

/// Fails so many more times, and works then. A clone is the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Weather(Arc<AtomicU32>);

impl Weather {
    pub(super) fn storms(failures: u32) -> Self {
        let weather = Self::default();
        weather.turns(failures);
        weather
    }

    pub(super) fn turns(&self, failures: u32) {
        self.0.store(failures, Ordering::SeqCst);
    }

    pub(super) fn holds(&self) -> Result<()> {
        let more = |left: u32| left.checked_sub(1);
        match self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more) {
            Ok(_) => Err(passing()),
            Err(_) => Ok(()),
        }
    }
}

/// An error that may pass.
pub(super) fn passing() -> Error {
    Error::Unavailable { what: "the search", problem: "it restarts".to_owned() }
}

/// A tool whose calls are counted, and which is at the mercy of the weather. It answers with its attempt.
pub(super) fn flaky(spec: ToolSpec, weather: &Weather, calls: &Gauge) -> impl Tool + 'static {
    let (weather, calls) = (weather.clone(), calls.clone());
    tool_fn(spec, move |call: ToolCall, _: Value| {
        let (weather, inside) = (weather.clone(), calls.enter());
        async move {
            weather.holds()?;
            drop(inside);
            Ok(json!(call.attempt()))
        }
    })
}

/// A tool that spends as many tokens as it is told by its arguments.
pub(super) fn spending(spec: ToolSpec, calls: &Gauge) -> impl Tool + 'static {
    let calls = calls.clone();
    tool_fn(spec, move |call: ToolCall, tokens: u64| {
        let _inside = calls.enter();
        call.spent(Amounts::tokens(tokens));
        async move { Ok(json!("thought")) }
    })
}
