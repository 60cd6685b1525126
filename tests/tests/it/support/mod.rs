//! What every suite stands on: an island of its own, people, whole logs, and what must hold for every run.
//!
//! A test is `on_every_backend! { async fn id_promise(island: Island) { … } }`. When its story is told, the log of
//! every run of every user that the island knows is held against the invariants of [`log`].

mod alone;
mod backing;
mod capture;
mod clock;
mod gate;
mod gauge;
mod island;
pub(crate) mod log;
mod people;
mod until;

pub(crate) use alone::{alone, resident_bytes};
pub(crate) use backing::{Backing, in_virtual_time, on_every_backend, on_every_database, on_sqlite};
pub(crate) use capture::captured;
pub(crate) use clock::{HandClock, ShiftedClock};
pub(crate) use gate::Gate;
pub(crate) use gauge::Gauge;
pub(crate) use island::Island;
pub(crate) use log::{events_of_run, kinds, words};
pub(crate) use people::{context, context_in, user, user_of, users};
pub(crate) use until::{until, until_async};
