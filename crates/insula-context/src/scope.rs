//! On whose behalf something happens, and who may say so.

use std::fmt;

use serde::Serialize;

use crate::{Error, TenantId, UserId};

/// A tenant and a user: the only key to a user's runs, events, state, cache, database, secrets and tools.
///
/// A scope cannot be deserialized, defaulted, widened or made from a request body. It comes from a
/// [`ScopeIssuer`], which only the place that authenticates callers holds.
///
/// ```
/// # use insula_context::{ScopeIssuer, UserScope};
/// fn may_be_called_by_anyone_who_has_one(scope: &UserScope) -> String {
///     format!("{} of {}", scope.user(), scope.tenant())
/// }
/// # #[expect(clippy::disallowed_methods, reason = "the example plays the authenticator")]
/// # let scope = ScopeIssuer::new().issue("acme", "ada").unwrap();
/// # assert_eq!(may_be_called_by_anyone_who_has_one(&scope), "ada of acme");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct UserScope {
    #[serde(rename = "tenant_id")]
    tenant: TenantId,
    #[serde(rename = "user_id")]
    user: UserId,
}

impl UserScope {
    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The user within the tenant.
    pub fn user(&self) -> &UserId {
        &self.user
    }
}

impl fmt::Debug for UserScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserScope({}/{})", self.tenant, self.user)
    }
}

impl fmt::Display for UserScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.user)
    }
}

/// The right to say who somebody is.
///
/// Make one where the process is wired together, hand it to the code that checks credentials (and to the engine,
/// which resumes work that was authenticated when it was submitted), and to nobody else. The workspace forbids
/// [`ScopeIssuer::new`] by lint everywhere but in those places.
#[derive(Debug)]
#[non_exhaustive]
pub struct ScopeIssuer {}

impl ScopeIssuer {
    /// Claims the right to issue scopes.
    #[expect(clippy::new_without_default, reason = "a right is claimed on purpose, never by default")]
    pub fn new() -> Self {
        Self {}
    }

    /// Issues the scope of an authenticated caller.
    ///
    /// # Errors
    /// When one of the names breaks the rules of [`crate::id`].
    pub fn issue(&self, tenant: impl AsRef<str>, user: impl AsRef<str>) -> Result<UserScope, Error> {
        Ok(UserScope { tenant: TenantId::new(tenant)?, user: UserId::new(user)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_cannot_be_made_from_a_request_body_or_from_nothing() {
        static_assertions::assert_not_impl_any!(UserScope: serde::de::DeserializeOwned, Default, From<String>);
        static_assertions::assert_not_impl_any!(ScopeIssuer: Clone, Default);
    }
}
