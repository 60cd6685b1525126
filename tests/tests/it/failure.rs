//! What fails, and what goes on all the same.
