//! Why the server could not be started.

use std::path::PathBuf;

/// The server could not be started, or could not go on listening.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Authentication cannot be set up.
    #[error("authentication cannot be set up")]
    Auth(#[from] crate::auth::Error),
    /// Certificate or key cannot be used.
    #[error("TLS: {} {problem}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}
