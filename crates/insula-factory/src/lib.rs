//! Fresh agent instances, bound to their owner and counted while they live.
//!
//! This is where an agent and the storage meet: [`AgentInstanceFactory`] makes the instance, [`BoundResources`] binds
//! state, database and cache to its owner, so that neither has to know the other.
//!
//! ```
//! use std::sync::Arc;
//! use insula_agent::kit;
//! use insula_context::{RandomIds, RunId, ThreadId, UserExecutionContext};
//! use insula_factory::{AgentInstanceFactory, Everything};
//! use insula_registry::{AgentClass, AgentClassRegistry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
//! # let ada = insula_context::ScopeIssuer::new().issue("acme", "ada")?;
//! let registry = AgentClassRegistry::builder().register(AgentClass::new("echo", "1", kit::echo)).freeze()?;
//! let factory = AgentInstanceFactory::new(registry, Arc::new(RandomIds), Arc::new(Everything));
//! let context = UserExecutionContext::builder(ada, ThreadId::new("t-1")?, RunId::new("r-1")?).build()?;
//!
//! let one = factory.create("echo", &context)?;
//! let two = factory.create("echo", &context)?;
//! assert_ne!(one.marker(), two.marker());
//! assert_eq!(factory.live(), 2);
//! drop((one, two));
//! assert!(factory.isolation_report().live.is_empty());
//! # Ok(())
//! # }
//! ```

mod bound;
mod error;
mod factory;
mod instance;
mod live;
mod report;

pub use bound::{BoundResources, Gate, Ports};
pub use error::Error;
pub use factory::{AgentInstanceFactory, Availability, Everything};
pub use instance::AgentInstance;
pub use insula_agent::InstanceMarker;
pub use report::{IsolationReport, LiveInstance, Violation};
