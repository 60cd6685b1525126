//! Several agents as one.

mod ends;
mod flow;
