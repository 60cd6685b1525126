//! A run's end is one fact, stop stops, limits limit.

mod children;
mod drops;
mod given_back;
mod lanes;
mod limits;
mod questions;
mod queue;
mod runs;
pub(crate) mod stage;
mod state;
mod stops;
