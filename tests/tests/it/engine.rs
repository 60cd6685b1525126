//! One user's engine.
