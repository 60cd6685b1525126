//! Reading what a caller shows. Pure, and the first thing that outside bytes meet: nothing here panics, allocates or asks
//! anybody, whatever it is given.

use std::fmt;

/// What a credential may measure. A token that needs more carries what does not belong into a header.
pub const MAX_BYTES: usize = 8 * 1024;

/// What every API key begins with, so that scanners of leaked secrets recognise one.
pub const KEY_PREFIX: &str = "insula_";

/// How long the public half of an API key is: 8 bytes in hexadecimal digits.
pub(super) const KEY_ID_CHARS: usize = 16;

/// How long the secret half is: 32 bytes in base64url, without padding.
pub(super) const KEY_SECRET_CHARS: usize = 43;

/// A credential of the right form, which says nothing about its worth.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presented<'a> {
    /// An API key.
    Key {
        /// The public half.
        id: &'a str,
        /// The secret half.
        secret: &'a str,
    },
    /// What could be a JWT.
    Token(&'a str),
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { id, .. } => f.debug_struct("Key").field("id", id).finish_non_exhaustive(),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}

/// The credential in the value of an `Authorization` header: what stands after `Bearer`, in whatever case.
///
/// ```
/// use insula_server::auth::bearer;
/// assert_eq!(bearer::of_header("Bearer abc"), Some("abc"));
/// assert_eq!(bearer::of_header("Basic abc"), None);
/// ```
pub fn of_header(value: &str) -> Option<&str> {
    let (scheme, credential) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim_matches(' '))
}

/// Recognises a credential. `None` when it is neither an API key nor of the form of a JWT.
pub fn parse(text: &str) -> Option<Presented<'_>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    match text.strip_prefix(KEY_PREFIX) {
        Some(rest) => key(rest),
        None => is_token(text).then_some(Presented::Token(text)),
    }
}

fn key(rest: &str) -> Option<Presented<'_>> {
    let (id, rest) = rest.split_at_checked(KEY_ID_CHARS)?;
    let secret = rest.strip_prefix('_')?;
    let is_key = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        && secret.len() == KEY_SECRET_CHARS
        && secret.bytes().all(is_base64url);
    is_key.then_some(Presented::Key { id, secret })
}

/// Three parts, none of them empty: so a token without a signature is none.
fn is_token(text: &str) -> bool {
    let mut parts = 0;
    text.split('.').all(|part| {
        parts += 1;
        !part.is_empty() && part.bytes().all(is_base64url)
    }) && parts == 3
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef";
    const SECRET: &str = "AAAAAAAAAAAAAAAAAAAA_BBBBBBBBBBBBBBBBBBB-09";

    #[test]
    fn tells_keys_from_tokens() {
        let key = format!("insula_{ID}_{SECRET}");
        assert_eq!(parse(&key), Some(Presented::Key { id: ID, secret: SECRET }));
        assert_eq!(parse("aGk.e30.c2ln"), Some(Presented::Token("aGk.e30.c2ln")));
    }

    #[test]
    fn refuses_what_is_neither() {
        let (upper, short, long) = (ID.to_uppercase(), &SECRET[1..], format!("{SECRET}A"));
        let keys = [
            format!("insula_{upper}_{SECRET}"),
            format!("insula_{ID}_{short}"),
            format!("insula_{ID}_{long}"),
            format!("insula_{ID}-{SECRET}"),
            format!("insula_{ID}_{}=", short),
            format!("insula_{ID}_{}é", &SECRET[2..]),
            format!("insula_é{ID}_{SECRET}"),
            format!(" insula_{ID}_{SECRET}"),
            format!("Insula_{ID}_{SECRET}"),
            "insula_".to_owned(),
        ];
        let others = ["", ".", "..", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c=", "a.b c.d", "a.b.ç", "\0"];
        for text in keys.iter().map(String::as_str).chain(others) {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn refuses_what_is_too_long_to_be_looked_at() {
        let part = "A".repeat(MAX_BYTES - 4);
        assert!(parse(&format!("{part}.b.c")).is_some());
        assert_eq!(parse(&format!("A{part}.b.c")), None);
    }

    #[test]
    fn takes_the_credential_out_of_a_header() {
        for value in ["Bearer x.y.z", "bearer x.y.z", "BEARER  x.y.z "] {
            assert_eq!(of_header(value), Some("x.y.z"));
        }
        for value in ["", "Bearer", "Basic eA==", "x.y.z", "Bearerx.y.z", "\u{a0}Bearer x"] {
            assert_eq!(of_header(value), None, "{value:?}");
        }
    }

    #[test]
    fn what_was_shown_is_not_printed() {
        let key = format!("insula_{ID}_{SECRET}");
        let shown = format!("{:?} {:?}", parse(&key), parse("aGk.e30.c2ln"));
        assert!(!shown.contains(SECRET) && !shown.contains("aGk"), "{shown}");
    }
}
