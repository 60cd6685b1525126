//! Who is asking, in which conversation and which execution, and until when.
//!
//! Everything else in Insula asks for one of two values from this crate: a [`UserScope`], which says on whose
//! behalf something happens and can only come from a [`ScopeIssuer`]; or a [`UserExecutionContext`], which adds
//! the conversation, the run, the deadline and the cancellation to it.
//!
//! ```
//! use insula_context::{ScopeIssuer, ThreadId, RunId, UserExecutionContext};
//!
//! # fn main() -> Result<(), insula_context::Error> {
//! // Only the place where a caller is authenticated holds an issuer.
//! # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
//! let issuer = ScopeIssuer::new();
//! let ada = issuer.issue("acme", "ada")?;
//!
//! let context = UserExecutionContext::builder(ada, ThreadId::new("t-1")?, RunId::new("r-1")?)
//!     .data("locale", "en-GB")
//!     .build()?;
//! let child = context.child("summarise")?;
//!
//! assert_eq!(child.run(), context.run());
//! assert_eq!(child.depth(), 1);
//! assert_ne!(child.request(), context.request());
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: [`id`] and [`scope`] (names that cannot be mixed up, and who may make a scope), [`time`]
//! (the injected clock and id source), [`cancel`] (deadlines and stops that only ever come earlier),
//! [`context`] (all of it together), [`cleanup`] (what runs when a scope ends), [`amounts`] (what things cost)
//! and [`sql`] (values of an agent's own tables).

pub mod amounts;
mod audit;
mod builder;
pub mod cancel;
pub mod cleanup;
pub mod context;
mod error;
pub mod id;
pub mod scope;
pub mod sql;
pub mod time;
pub mod trace;

pub use amounts::{Amounts, Ceiling, Unit};
pub use audit::AuditView;
pub use builder::ContextBuilder;
pub use cancel::{CancelReason, Cancellation, Canceller, Deadline};
pub use cleanup::Cleanup;
pub use context::{MAX_DEPTH, UserExecutionContext};
pub use error::Error;
pub use id::{ConnectionId, RequestId, RunId, SessionId, TenantId, ThreadId, UserId};
pub use scope::{ScopeIssuer, UserScope};
pub use sql::{SqlRow, SqlValue};
pub use time::{Clock, IdSource, RandomIds, SeededIds, SystemClock, Timestamp};
pub use trace::TraceContext;
