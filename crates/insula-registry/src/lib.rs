//! Which agent classes exist: a builder that checks everything at once and freezes into an immutable value.
