//! API keys: what is made, what of it is stored, and what a stored one is worth.
//!
//! A key is `insula_ID_SECRET`. The secret half is 256 random bits, shown once; the store keeps its SHA-256. What a key is
//! good for is stored as words, `role:user` and `access:write`. A word that this version does not know grants nothing.

use std::fmt;

use insula_context::{Timestamp, UserScope};
use insula_infra::KeyRecord;

use super::{
    bearer::KEY_PREFIX,
    error::Error,
    principal::{Credential, Principal},
    roles::{Access, Role, Roles},
    secret::{self, Secret},
};

/// What a key may be called, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// An order for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whoever shows it will be this user.
    pub scope: UserScope,
    /// What its owner calls it.
    pub name: String,
    /// What it is good for; at least one role.
    pub roles: Roles,
    /// Whether it may change anything.
    pub access: Access,
    /// When it stops to be worth anything; never, if there is none.
    pub expires_at: Option<Timestamp>,
}

impl NewKey {
    /// A key for the caller's own user that can do what the caller can, and expires when the caller's credential does.
    pub fn like(principal: &Principal, name: impl Into<String>) -> Self {
        Self {
            scope: principal.scope.clone(),
            name: name.into(),
            roles: principal.roles,
            access: principal.access,
            expires_at: principal.expires_at,
        }
    }

    /// The same with less: asking for more than is there changes nothing.
    #[must_use]
    pub fn narrowed(self, access: Option<Access>, expires_at: Option<Timestamp>) -> Self {
        let access = access.map_or(self.access, |wanted| wanted.min(self.access));
        let expires_at = self.expires_at.into_iter().chain(expires_at).min();
        Self { access, expires_at, ..self }
    }

    fn check(&self, now: Timestamp) -> Result<(), Error> {
        let is_name = (1..=MAX_NAME_BYTES).contains(&self.name.len()) && !self.name.contains(char::is_control);
        if !is_name {
            return Err(Error::KeyName);
        }
        if self.roles.is_empty() {
            return Err(Error::NoRole);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(Error::ExpiresInThePast);
        }
        Ok(())
    }
}

/// A key that has just been made. Its text is here, and never anywhere again.
pub struct MintedKey {
    /// The whole key, to be shown to its owner once.
    pub shown: Secret,
    /// What is stored of it.
    pub record: KeyRecord,
}

impl fmt::Debug for MintedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MintedKey").field("id", &self.record.id).finish_non_exhaustive()
    }
}

/// The public half of the first key of all. It is always the same, so that of the nodes that start together on a new store
/// one alone makes it: the store takes an id once.
const FIRST: u64 = 1;

/// Makes a key without storing it.
pub(super) fn make(order: NewKey, now: Timestamp) -> Result<MintedKey, Error> {
    of_id(u64::from_be_bytes(secret::random()), order, now)
}

/// Makes the first key of all without storing it.
pub(super) fn make_first(order: NewKey, now: Timestamp) -> Result<MintedKey, Error> {
    of_id(FIRST, order, now)
}

fn of_id(id: u64, order: NewKey, now: Timestamp) -> Result<MintedKey, Error> {
    order.check(now)?;
    let id = format!("{id:016x}");
    let half = secret::random_text();
    let record = KeyRecord {
        hash: secret::hash(&half),
        grants: grants(order.roles, order.access),
        scope: order.scope,
        name: order.name,
        created_at: now,
        expires_at: order.expires_at,
        last_used_at: None,
        revoked_at: None,
        id,
    };
    Ok(MintedKey { shown: Secret::new(format!("{KEY_PREFIX}{}_{half}", record.id)), record })
}

fn grants(roles: Roles, access: Access) -> Vec<String> {
    roles.iter().map(|role| format!("role:{role}")).chain([format!("access:{access}")]).collect()
}

/// What a stored key is good for. A key that does not say may only read.
pub fn granted(record: &KeyRecord) -> (Roles, Access) {
    let words = |kind: &'static str| record.grants.iter().filter_map(move |grant| grant.strip_prefix(kind));
    let roles = words("role:").filter_map(|word| word.parse::<Role>().ok()).collect();
    let access = words("access:").filter_map(|word| word.parse().ok()).max().unwrap_or(Access::Read);
    (roles, access)
}

/// What of a stored key is needed to let its owner in.
#[derive(Debug)]
pub(super) struct KnownKey {
    pub(super) hash: secret::Hash,
    pub(super) principal: Principal,
    pub(super) last_used_at: Option<Timestamp>,
    pub(super) is_revoked: bool,
}

impl From<KeyRecord> for KnownKey {
    fn from(record: KeyRecord) -> Self {
        let (roles, access) = granted(&record);
        Self {
            hash: record.hash,
            last_used_at: record.last_used_at,
            is_revoked: record.revoked_at.is_some(),
            principal: Principal {
                scope: record.scope,
                roles,
                access,
                credential: Credential::Key { id: record.id, name: record.name },
                expires_at: record.expires_at,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ada, record_with};
    use super::*;

    #[test]
    fn what_is_granted_is_read_from_the_words_it_is_stored_as() {
        let roles = Roles::of(&[Role::User, Role::Admin]);
        for access in [Access::Read, Access::Write] {
            assert_eq!(granted(&record_with(&grants(roles, access))), (roles, access));
        }
        assert_eq!(grants(roles, Access::Write), ["role:user", "role:admin", "access:write"]);
    }

    #[test]
    fn words_of_another_version_grant_nothing() {
        let words = ["role:superuser", "access:everything", "role:", "user", "role: user", "roleuser"];
        assert_eq!(granted(&record_with(&words.map(str::to_owned))), (Roles::default(), Access::Read));
    }

    #[test]
    fn a_key_made_from_another_is_never_more() {
        let now = Timestamp::from_micros(1_000_000);
        let (sooner, later) = (Timestamp::from_micros(2_000_000), Timestamp::from_micros(3_000_000));
        let mut record = record_with(&grants(Roles::of(&[Role::User]), Access::Read));
        record.expires_at = Some(later);
        let holder = KnownKey::from(record).principal;

        let same = NewKey::like(&holder, "copy").narrowed(None, None);
        assert_eq!((same.roles, same.access, same.expires_at), (holder.roles, Access::Read, Some(later)));
        assert_eq!(same.scope, ada());

        let greedy = NewKey::like(&holder, "copy").narrowed(Some(Access::Write), Some(later.plus(later.since(now))));
        assert_eq!((greedy.access, greedy.expires_at), (Access::Read, Some(later)));

        let modest = NewKey::like(&holder, "copy").narrowed(Some(Access::Read), Some(sooner));
        assert_eq!(modest.expires_at, Some(sooner));
    }

    #[test]
    fn senseless_orders_are_refused() {
        let now = Timestamp::from_micros(1_000_000);
        let order = |name: &str| NewKey {
            scope: ada(),
            name: name.to_owned(),
            roles: Roles::of(&[Role::User]),
            access: Access::Write,
            expires_at: None,
        };
        assert!(make(order("laptop"), now).is_ok());
        for name in ["", "a\nb", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(matches!(make(order(name), now), Err(Error::KeyName)), "{name:?}");
        }
        let nothing = NewKey { roles: Roles::default(), ..order("laptop") };
        assert!(matches!(make(nothing, now), Err(Error::NoRole)));
        let late = NewKey { expires_at: Some(now), ..order("laptop") };
        assert!(matches!(make(late, now), Err(Error::ExpiresInThePast)));
    }
}
