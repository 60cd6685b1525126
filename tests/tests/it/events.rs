//! Events and those who watch them.
