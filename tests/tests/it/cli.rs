//! The binary `insula`, driven as a user drives it: arguments in, output and exit codes out.
//!
//! It is the binary of the last `cargo build`; `cargo xtask test` builds the workspace before it runs anything.

#[path = "cli/configuration.rs"]
mod configuration;
#[path = "cli/harness.rs"]
pub(crate) mod harness;
#[path = "cli/keeping.rs"]
mod keeping;
#[path = "cli/looking.rs"]
mod looking;
#[path = "cli/nodes.rs"]
mod nodes;
#[path = "cli/queueing.rs"]
mod queueing;
#[path = "cli/remote/mod.rs"]
mod remote;
#[path = "cli/running.rs"]
mod running;
#[path = "cli/stopping.rs"]
mod stopping;
