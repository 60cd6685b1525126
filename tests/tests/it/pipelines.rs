//! Several agents as one.
