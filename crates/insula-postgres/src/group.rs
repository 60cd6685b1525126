//! Writes in groups: what several pieces of work need is locked and read at once, changed in memory, and written at once.
//!
//! A group costs five round trips however many pieces there are in it: begin, lock, read, write, commit. Everything that a
//! piece decides happens on the [`Desk`], in the order in which the pieces came, and without a statement of its own.
//!
//! Locks are taken in one order by everybody who writes: lines, threads, runs, accounts, each by number. Whoever hands out
//! runs waits for none of them.

mod desk;
mod flush;
mod load;
mod wants;

pub(crate) use desk::{Chunked, Desk, Fresh, Run};
pub(crate) use load::load;
pub(crate) use wants::{ALL, Hold, Wants};

pub(crate) use flush::flush;
