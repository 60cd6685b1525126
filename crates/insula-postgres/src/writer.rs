//! Writes.
pub(crate) struct Writer {}
