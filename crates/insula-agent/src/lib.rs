//! What an author of agents writes against: [`Agent`], the [`Session`] that it is given, and [`Tool`].
//!
//! An agent is ordinary async code. Whatever must not be repeated after a crash goes through the session: steps, tools,
//! other agents, questions to a human, the time and randomness. None of the handles that an agent receives takes an
//! owner: they are bound to the run's owner, so an agent has nowhere to put somebody else's name.
//!
//! ```
//! use insula_agent::{Agent, Effect, Result, Session};
//! use serde_json::{Value, json};
//!
//! struct Greeter;
//!
//! #[async_trait::async_trait]
//! impl Agent for Greeter {
//!     async fn run(&mut self, session: &mut Session, input: Value) -> Result<Value> {
//!         session.think("looking for a nice word");
//!         let word: String = session.step("choose", Effect::Pure, async || Ok("Salve".to_owned())).await?;
//!         Ok(json!(format!("{word}, {}!", input["name"].as_str().unwrap_or("stranger"))))
//!     }
//! }
//! ```
//!
//! In reading order: [`agent`], [`session`], [`tool`], [`retry`], [`question`], [`handles`] (state, database, cache), [`host`] (what
//! an engine implements below a session) and [`kit`] (agents for tests).

pub mod agent;
mod error;
pub mod handles;
pub mod host;
pub mod kit;
pub mod marker;
pub mod question;
pub mod retry;
pub mod session;
pub mod tool;

pub use agent::{Agent, agent_fn};
pub use error::{Cause, Error, Result, ToolFailure};
pub use handles::{Cache, CacheMessages, Database, Space, State, StateHandle, Transaction};
pub use host::{CallSite, Resources, SessionHost, StepStart};
pub use marker::InstanceMarker;
pub use question::Question;
pub use retry::{BreakerPolicy, Jitter, RetryPolicy};
pub use session::Session;
pub use tool::{Effect, Reconciled, SpentSoFar, Tool, ToolCall, ToolSpec, tool_fn};
