//! Ids as distinct types, validated once where they are made.
//!
//! There is no conversion between them, so a session id where a run id is wanted does not compile.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{Error, time::IdSource};

/// The longest id that is accepted, in bytes.
pub const MAX_BYTES: usize = 128;

/// Values that stand for "nobody" or "not filled in". Each is refused as any id, in upper or lower case alike;
/// the rule does not depend on length or environment.
pub const PLACEHOLDERS: &[&str] = &[
    "registry",
    "placeholder",
    "null",
    "nil",
    "undefined",
    "none",
    "nan",
    "n/a",
    "unknown",
    "anonymous",
    "default",
    "todo",
    "tbd",
    "changeme",
    "{user_id}",
    "<user_id>",
    "[object object]",
];

/// Checks one outside value against the rules for every id.
fn validate(field: &'static str, value: &str) -> Result<(), Error> {
    if value.trim().is_empty() {
        return Err(Error::Blank { field });
    }
    if value.len() > MAX_BYTES {
        return Err(Error::TooLong { field, bytes: value.len() });
    }
    if let Some((at, _)) = value.char_indices().find(|(_, c)| c.is_control()) {
        return Err(Error::ControlCharacter { field, at });
    }
    let trimmed = value.trim();
    match PLACEHOLDERS.iter().find(|p| p.eq_ignore_ascii_case(trimmed)) {
        Some(value) => Err(Error::Placeholder { field, value }),
        None => Ok(()),
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes an outside value.
            ///
            /// # Errors
            /// Blank, longer than [`MAX_BYTES`], with control characters, or one of [`PLACEHOLDERS`]: the error
            #[doc = concat!("names the field `", $field, "`.")]
            pub fn new(value: impl AsRef<str>) -> Result<Self, Error> {
                let value = value.as_ref();
                validate($field, value)?;
                Ok(Self(Arc::from(value)))
            }

            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &*self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

/// Ids that the platform makes itself, beside those that come from outside.
macro_rules! generated {
    ($name:ident) => {
        impl $name {
            /// Makes a fresh id, unique and ordered by time of creation.
            pub fn generate(ids: &dyn IdSource) -> Self {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                Self(Arc::from(&*ids.next_id().hyphenated().encode_lower(&mut text)))
            }
        }
    };
}

id!(
    /// A customer of the platform: the outer half of a [`UserScope`](crate::UserScope).
    TenantId, "tenant_id"
);
id!(
    /// A user within a tenant: the inner half of a [`UserScope`](crate::UserScope).
    UserId, "user_id"
);
id!(
    /// The login session outside of Insula, as the caller's product knows it.
    SessionId, "session_id"
);
id!(
    /// A conversation, and the unit of order: the events of a thread have a `seq` without gaps.
    ThreadId, "thread_id"
);
id!(
    /// One execution of one agent class in one thread.
    RunId, "run_id"
);
id!(
    /// One inbound request or one child operation.
    RequestId, "request_id"
);
id!(
    /// One open connection of a client.
    ConnectionId, "connection_id"
);
generated!(ThreadId);
generated!(RunId);
generated!(RequestId);
generated!(ConnectionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_a_product_would_use_as_an_id() {
        for id in ["u", "0", "ada@example.org", "用户-1", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "nullable"] {
            assert_eq!(UserId::new(id).map(|u| u.to_string()), Ok(id.to_owned()));
        }
    }

    #[test]
    fn refuses_blank_long_control_and_placeholder_values_by_name() {
        let field = "run_id";
        assert_eq!(RunId::new(""), Err(Error::Blank { field }));
        assert_eq!(RunId::new(" \u{a0} "), Err(Error::Blank { field }));
        assert_eq!(RunId::new("x".repeat(129)), Err(Error::TooLong { field, bytes: 129 }));
        assert_eq!(RunId::new("a\u{7}b"), Err(Error::ControlCharacter { field, at: 1 }));
        for placeholder in PLACEHOLDERS {
            let loud = format!(" {} ", placeholder.to_uppercase());
            assert_eq!(RunId::new(&loud), Err(Error::Placeholder { field, value: placeholder }));
        }
    }

    #[test]
    fn serializes_as_its_text_and_never_deserializes() {
        static_assertions::assert_not_impl_any!(UserId: serde::de::DeserializeOwned, Default);
        static_assertions::assert_not_impl_any!(RunId: From<SessionId>, From<ThreadId>, From<UserId>);
        let id = UserId::new("ada").expect("valid");
        assert_eq!(serde_json::to_string(&id).expect("serializes"), "\"ada\"");
    }
}
