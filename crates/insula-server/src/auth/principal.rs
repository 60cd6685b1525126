//! Whoever has been authenticated: on whose behalf, with which rights, by which credential, until when.

use insula_context::{Timestamp, UserScope};

use super::roles::{Access, Role, Roles};

/// By what somebody was authenticated. The secret of it is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API key.
    Key {
        /// Its public half.
        id: String,
        /// What its owner calls it.
        name: String,
    },
    /// A JWT.
    Token {
        /// What its issuer calls the user.
        subject: String,
        /// Its id, where the issuer gave it one.
        id: Option<String>,
    },
}

/// An authenticated caller. Only an [`Authenticator`](super::Authenticator) makes one, which is why there is a scope in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// On whose behalf.
    pub scope: UserScope,
    /// What the credential is good for.
    pub roles: Roles,
    /// Whether it may change anything.
    pub access: Access,
    /// Which credential it is.
    pub credential: Credential,
    /// It is worth nothing from this time on.
    pub expires_at: Option<Timestamp>,
}

impl Principal {
    /// Whether this caller has the role, and at least this access.
    pub fn may(&self, role: Role, access: Access) -> bool {
        self.roles.has(role) && self.access.includes(access)
    }

    /// Whether the credential has expired by then.
    pub fn has_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The id of the API key, if it was one.
    pub(super) fn key_id(&self) -> Option<&str> {
        match &self.credential {
            Credential::Key { id, .. } => Some(id),
            Credential::Token { .. } => None,
        }
    }
}
