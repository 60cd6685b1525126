//! The only way to call a tool.
