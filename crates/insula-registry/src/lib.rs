//! Which agent classes exist. A builder takes them, checks everything at once, and freezes into an immutable value that
//! everyone reads without a lock. There is no global registry.
//!
//! ```
//! use insula_agent::kit;
//! use insula_registry::{AgentClass, AgentClassRegistry};
//!
//! let registry = AgentClassRegistry::builder()
//!     .register(AgentClass::new("echo", "1", kit::echo).describe("Returns what it was given."))
//!     .register(AgentClass::new("nap", "1", || kit::sleep(std::time::Duration::from_millis(5))).depends_on("echo"))
//!     .freeze()?;
//!
//! assert_eq!(registry.names().collect::<Vec<_>>(), ["echo", "nap"]);
//! assert!(registry.class("ecco").is_none());
//! # Ok::<(), insula_registry::Error>(())
//! ```

mod class;
mod error;
mod registry;
mod schema;

pub use class::{AgentClass, Capability, ClassLimits, Dependency};
pub use error::{Error, Fault};
pub use registry::{AgentClassRegistry, RegistryBuilder};
pub use schema::violations_of;
