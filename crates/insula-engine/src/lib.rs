//! Runs agents of many users on shared infrastructure, as if each user had the machine to themselves.
//!
//! [`ExecutionEngineFactory`] is the place where infrastructure is injected, once. It makes a [`UserExecutionEngine`]
//! for each user and run; what is submitted to the queue outlives every handle. A run's end is one fact: a pure state
//! machine decides, one journal writes, and whoever watches reads the log with a cursor.
//!
//! ```
//! use insula_agent::kit;
//! use insula_context::{RunId, ScopeIssuer, ThreadId, UserExecutionContext};
//! use insula_engine::ExecutionEngineFactory;
//! use insula_infra::MemoryBackend;
//! use insula_registry::{AgentClass, AgentClassRegistry};
//! use serde_json::json;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = AgentClassRegistry::builder().register(AgentClass::new("echo", "1", kit::echo)).freeze()?;
//! let factory = ExecutionEngineFactory::builder(registry, MemoryBackend::new().into_backend()).build();
//!
//! // Only where a caller is authenticated.
//! # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
//! let ada = ScopeIssuer::new().issue("acme", "ada")?;
//! let context = UserExecutionContext::builder(ada, ThreadId::new("t-1")?, RunId::new("r-1")?).build()?;
//!
//! let engine = factory.create_for_user(&context)?;
//! let outcome = engine.execute_agent(&context, "echo", json!("salve")).await?;
//! assert_eq!(outcome.result().unwrap()["echo"], "salve");
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: `factory` and `engine` (the two handles), `machine` (what a run may do), `driver` (who does it),
//! `journal` (how it gets into the log), `replay`, `history` and `resume` (how a run goes on after its worker was lost), `host` and `dispatcher` (what an agent's calls become), `limits`, `lanes` (the
//! threads that poll agents), `stream` (readers), [`bridge`] (connections), [`pipeline`], `submission` (the way into the
//! queue), [`schedules`] (the calendar), `inbox` (questions and answers), `background`, `archive` (a run as a file), `rerun` (a
//! run executed again against its record), `keeping` (retries, forks, deletion), [`spans`] (what a
//! tracer is told).

mod afterwards;
mod agent_task;
mod archive;
mod attempts;
mod background;
mod breaker;
pub mod bridge;
mod budget;
mod builder;
mod children;
mod core;
mod dispatcher;
mod driver;
mod ending;
mod engine;
mod engines;
mod error;
mod events;
mod factory;
mod giving_back;
mod history;
mod host;
mod inbox;
mod journal;
mod keeping;
mod lanes;
mod limits;
mod machine;
mod options;
mod origin;
mod outcome;
pub mod pipeline;
mod platform;
mod reconcile;
mod redact;
mod replay;
mod request;
mod rerun;
mod resume;
mod retry;
pub mod schedules;
pub mod spans;
mod stream;
mod submission;
mod tool_dispatcher;
mod tools;
mod undo;
mod waiting;
mod waits;

pub use archive::{Archive, Export, Imported, Part};
pub use bridge::{Batch, Connection, Delivery, Gone, WebSocketBridge};
pub use builder::FactoryBuilder;
pub use engine::{EngineStats, UserExecutionEngine};
pub use error::Error;
pub use events::Usage;
pub use factory::ExecutionEngineFactory;
pub use inbox::AnswerTo;
pub use insula_factory::Error as FactoryError;
pub use insula_infra::{Backend, MemoryBackend, ThreadPolicy};
pub use lanes::AgentThreads;
pub use limits::Limits;
pub use outcome::{End, Outcome, RunSummary};
pub use pipeline::{
    Pipeline, PipelineBuilder, PipelineOutcome, PlanError, Seen, Step, StepError, StepOutcome, StepStatus,
};
pub use platform::{AuditEntry, Metrics};
pub use redact::{SECRET_KEYS, SECRET_WORDS};
pub use request::RunRequest;
pub use rerun::{Difference, Replay};
pub use schedules::{Missed, Schedule, Scheduled};
pub use spans::Traces;
pub use stream::{EventStream, StreamItem};
pub use tool_dispatcher::ToolDispatcher;
pub use tools::{ToolCatalog, Tools};
