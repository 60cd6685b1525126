//! Conversations that branch off, are deleted, and are forgotten.
