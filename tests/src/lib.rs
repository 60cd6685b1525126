//! The suites live in tests/it.
