//! Secrets: where they come from, how they are compared, and that nobody prints one by accident.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Text that may be shown to one person and be written nowhere. It prints as `Secret(…)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What is stored instead of a secret. Secrets are 256 random bits, so nothing slower than SHA-256 is needed.
pub(super) type Hash = [u8; 32];

/// Random bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the generator is seeded by the operating system and does not run out");
    bytes
}

/// 256 random bits as 43 characters of base64url.
pub(super) fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random::<32>())
}

pub(super) fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// Compares without telling by the time it takes how much is alike.
pub(super) fn same(one: &Hash, other: &Hash) -> bool {
    one.ct_eq(other).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn random_texts_are_long_and_distinct() {
        let texts: std::collections::HashSet<_> = (0..1_000).map(|_| random_text()).collect();
        assert_eq!(texts.len(), 1_000);
        assert!(texts.iter().all(|text| text.len() == super::super::bearer::KEY_SECRET_CHARS));
    }

    #[test]
    fn hashes_are_the_same_only_of_the_same_text() {
        assert!(same(&hash("a"), &hash("a")));
        assert!(!same(&hash("a"), &hash("b")));
    }
}
