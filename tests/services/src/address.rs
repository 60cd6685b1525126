//! Where the servers are, and names that nobody else uses.

use uuid::Uuid;

/// The address that a variable of the environment gives.
#[expect(clippy::disallowed_methods, reason = "a test's services are named in the environment, as README says")]
pub(crate) fn named_by(variable: &str) -> String {
    match std::env::var(variable) {
        Ok(address) if !address.is_empty() => address,
        _ => panic!("{variable} is not set: run `cargo xtask test`, or `cargo xtask services up` and what it prints"),
    }
}

/// 16 characters, so that a name in front of them still fits into the 63 that Postgres allows.
pub(crate) fn unique() -> String {
    Uuid::new_v4().simple().to_string().split_off(16)
}

/// The part of a test's name that is allowed in a name of a database: at most `length` characters.
pub(crate) fn plain(name: &str, length: usize) -> String {
    let allowed = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
    name.chars().map(allowed).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_test_becomes_a_name_of_a_database() {
        assert_eq!(plain("Queue::claims \"once\"; DROP", 20), "queue__claims__once_");
        assert_ne!(unique(), unique());
        assert_eq!(unique().len(), 16);
    }

    #[test]
    #[should_panic(expected = "cargo xtask services up")]
    fn an_address_that_is_not_set_says_what_to_run() {
        named_by("INSULA_TEST_NOTHING");
    }
}
