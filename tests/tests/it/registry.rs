//! Which agent classes exist.
