//! Addresses of services, which have passwords in them that nobody is shown.

use std::fmt;

/// A URL of a database or of a Redis. What is shown of it has no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address(String);

/// Stands where the password stood.
const HIDDEN: &str = "hidden";

impl Address {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// Everything, for the driver and for nobody else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0).unwrap_or_else(|| HIDDEN.to_owned()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Scheme, user, host and database. `None` where it is not certain which part is which: a password that should have been
/// written with `%XX` may then stand anywhere.
fn shown(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at(end);
    if behind.contains('@') {
        return None;
    }
    let database = behind.split(['?', '#']).next().unwrap_or_default();
    let who = match authority.rsplit_once('@') {
        None => String::new(),
        Some((who, _)) => match who.split_once(':') {
            None => format!("{who}@"),
            Some((user, _)) => format!("{user}:{HIDDEN}@"),
        },
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    Some(format!("{scheme}://{who}{host}{database}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, expected) in [
            ("postgres://ada:s3cret@db.internal:5433/insula", "postgres://ada:hidden@db.internal:5433/insula"),
            ("postgres://ada@db/insula?password=s3cret", "postgres://ada@db/insula"),
            ("postgres://db", "postgres://db"),
            ("redis://:s3cret@cache:6379/2", "redis://:hidden@cache:6379/2"),
            ("postgres://ada:s3@cret@db/insula", "postgres://ada:hidden@db/insula"),
            ("postgres://ada:s3/cret@db/insula", "hidden"),
            ("postgres://ada:s3?cret@db/insula", "hidden"),
            ("postgres://ada@db/insula?password=s3@cret", "hidden"),
            ("s3cret", "hidden"),
        ] {
            let address = Address::new(url);
            assert_eq!(address.to_string(), expected, "{url}");
            assert!(!format!("{address:?}").contains("cret"), "{url}");
            assert_eq!(address.expose(), url);
        }
    }
}
