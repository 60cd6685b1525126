//! What a credential may be used for: roles say for whose things, access says whether for changing them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

/// A role that a credential has. None of them includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything of the credential's own user, and of nobody else.
    User,
    /// Counts and health of all, nobody's content.
    Operator,
    /// Keys and limits of all.
    Admin,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 3] = [Self::User, Self::Operator, Self::Admin];

    /// The word for it, on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or(UnknownWord { expected: "user, operator or admin" })
    }
}

/// A set of roles; the empty one may do nothing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Roles(u8);

impl Roles {
    /// These roles.
    pub fn of(roles: &[Role]) -> Self {
        roles.iter().copied().collect()
    }

    /// Whether this role is one of them.
    pub const fn has(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// The roles, the one of a user first.
    pub fn iter(self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(move |role| self.has(*role))
    }

    /// Whether `other` has all of them.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Those that `other` has as well.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().fold(0, |bits, role| bits | role.bit()))
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Whether a credential may change anything. The later one includes the earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Look, and change nothing.
    Read,
    /// Look and change.
    Write,
}

impl Access {
    /// The word for it, on the wire and in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Whether whoever has this may do what needs `wanted`.
    pub fn includes(self, wanted: Self) -> bool {
        wanted <= self
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Access {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err(UnknownWord { expected: "read or write" }),
        }
    }
}

/// A word that names no role, or no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of {expected}")]
pub struct UnknownWord {
    expected: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_from_the_word_it_is_written_as() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).expect("serializes"), role.as_str());
        }
        assert!("Admin".parse::<Role>().is_err() && "".parse::<Role>().is_err());
    }

    #[test]
    fn no_role_includes_another() {
        for role in Role::ALL {
            let alone = Roles::of(&[role]);
            assert_eq!(alone.iter().collect::<Vec<_>>(), [role]);
            assert!(alone.is_subset(Roles::of(&Role::ALL)) && !Roles::of(&Role::ALL).is_subset(alone));
        }
        assert!(Roles::default().is_empty() && Roles::default().is_subset(Roles::of(&[Role::User])));
    }

    #[test]
    fn roles_are_written_as_their_words() {
        let roles = Roles::of(&[Role::Admin, Role::User, Role::Admin]);
        assert_eq!(serde_json::to_string(&roles).expect("serializes"), r#"["user","admin"]"#);
        assert_eq!(format!("{roles:?}"), "{User, Admin}");
    }

    #[test]
    fn write_includes_read_and_not_the_other_way_round() {
        assert!(Access::Write.includes(Access::Read) && Access::Write.includes(Access::Write));
        assert!(Access::Read.includes(Access::Read) && !Access::Read.includes(Access::Write));
        assert_eq!("write".parse(), Ok(Access::Write));
        assert!("WRITE".parse::<Access>().is_err());
    }
}
