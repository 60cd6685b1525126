//! What can go wrong with credentials, in two kinds: a caller is refused, or an order cannot be carried out.

/// A caller was not let in.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The credential is malformed, unknown, expired or revoked: which of these is in the log, and nowhere else.
    #[error("the credential is not accepted")]
    Credential,
    /// Nobody knows whether it is good: the store of the keys, or the issuer's set of keys, does not answer.
    #[error("the credential cannot be checked now")]
    Unavailable(#[source] insula_infra::Error),
}

/// An order that has to do with credentials was not carried out, or what was configured does not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store of the keys failed.
    #[error("{operation}: the store of the keys failed")]
    Store {
        /// What was attempted.
        operation: &'static str,
        /// What the store said.
        #[source]
        source: insula_infra::Error,
    },
    /// Only an admin acts for somebody else.
    #[error("only an admin may name another user")]
    NotAdmin,
    /// There is no such user, because nobody can be called that.
    #[error("that is not the name of a user")]
    Name(#[source] insula_context::Error),
    /// A new key's name is not one.
    #[error("the name of a key is 1 to {max} bytes without control characters", max = super::keys::MAX_NAME_BYTES)]
    KeyName,
    /// A new key would be good for nothing.
    #[error("a key needs at least one role")]
    NoRole,
    /// A new key would have expired before it was made.
    #[error("a key cannot expire in the past")]
    ExpiresInThePast,
    /// A key for tokens cannot be used.
    #[error("a key for tokens cannot be used: {problem}")]
    TokenKey {
        /// What is wrong and what to do.
        problem: String,
    },
}
