//! What a tool is called, what it takes and what it means to call it.

use std::time::Duration;

use insula_context::Amounts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{BreakerPolicy, RetryPolicy};

/// What it means to do something again. The engine obeys it after a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing outside: repeat freely.
    Pure,
    /// May be repeated with the same key, which the tool is handed as [`ToolCall::key`](crate::ToolCall::key).
    Idempotent,
    /// Must never be repeated blindly.
    Once,
    /// Can be undone.
    Compensable,
}

/// What a tool is called, what it takes and what it may do. Immutable once built.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    /// Its name: what agents call.
    pub name: String,
    /// What it does, in words for a model or a person.
    pub description: String,
    /// The JSON Schema of its arguments.
    pub input: Value,
    /// What it means to call it again.
    pub effect: Effect,
    /// How long one call may take.
    pub timeout: Option<Duration>,
    /// How many calls of one user may be in flight.
    pub in_flight: Option<usize>,
    /// How many calls of one user are accepted within a window.
    pub rate: Option<(u64, Duration)>,
    /// The permission that the user must have.
    pub permission: Option<String>,
    /// When a call that failed is made again.
    pub retry: Option<RetryPolicy>,
    /// What it depends on, by the name under which all tools know it.
    pub dependency: Option<String>,
    /// When what it depends on is left alone.
    pub breaker: Option<BreakerPolicy>,
    /// What one call is expected to cost at most, beside itself as one call.
    pub cost: Amounts,
}

impl ToolSpec {
    /// A tool that takes arguments of the type `A`, with the JSON Schema of that type. Its effect is [`Effect::Once`]
    /// until another is declared, because that is the one that does no harm.
    pub fn new<A: JsonSchema>(name: impl Into<String>) -> Self {
        Self::with_schema(name, schemars::schema_for!(A).to_value())
    }

    /// A tool whose arguments are described by a schema that exists already.
    pub fn with_schema(name: impl Into<String>, input: Value) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            input,
            effect: Effect::Once,
            timeout: None,
            in_flight: None,
            rate: None,
            permission: None,
            retry: None,
            dependency: None,
            breaker: None,
            cost: Amounts::default(),
        }
    }

    /// What it does.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// What it means to call it again.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// A call that takes longer is stopped.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// More calls of one user at once are refused.
    #[must_use]
    pub fn in_flight(mut self, limit: usize) -> Self {
        self.in_flight = Some(limit);
        self
    }

    /// More calls of one user within the window are refused.
    #[must_use]
    pub fn rate(mut self, calls: u64, window: Duration) -> Self {
        self.rate = Some((calls, window));
        self
    }

    /// Only for users with this permission.
    #[must_use]
    pub fn permission(mut self, permission: impl Into<String>) -> Self {
        self.permission = Some(permission.into());
        self
    }

    /// Makes a call that failed again, within the same `tool_executing` and `tool_completed`. A call of a tool that must
    /// not be repeated is made again only after [a failure that had no effect](crate::ToolFailure::had_no_effect).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Depends on something that other tools may depend on as well, and has a breaker on it: while it keeps failing,
    /// calls fail at once, for every user. Nobody learns more by that than that it is down.
    #[must_use]
    pub fn depends_on(mut self, dependency: impl Into<String>) -> Self {
        self.dependency = Some(dependency.into());
        self
    }

    /// When what it depends on is left alone. Without [a name](ToolSpec::depends_on) it is the tool itself.
    #[must_use]
    pub fn breaker(mut self, policy: BreakerPolicy) -> Self {
        self.breaker = Some(policy);
        self
    }

    /// What one call is expected to cost at most. That much is reserved before the call; what it
    /// [really cost](crate::ToolCall::spent) takes its place afterwards.
    #[must_use]
    pub fn cost(mut self, estimate: Amounts) -> Self {
        self.cost = estimate;
        self
    }
}
