//! Why an instance was not made, or may not run.

use insula_registry::Dependency;

/// The factory refused something. No instance exists when a creation fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No such class.
    #[error(transparent)]
    Class(#[from] insula_registry::Error),
    /// The class needs something that this installation, or this user, does not have.
    #[error("the agent \"{class}\" needs {needs}, which is not configured here")]
    Unavailable {
        /// The class.
        class: String,
        /// What it needs.
        needs: Dependency,
    },
    /// An instance was to run in a context of somebody else. It did not run.
    #[error("the instance belongs to another user than the context: it was not run")]
    Foreign,
    /// The instance's user was cleaned up. It did not run.
    #[error("the instance was released together with its user: create another")]
    Released,
}
