//! Who gets a turn when: users in turn, threads by their policy, and runs that begin by the calendar.

mod answers;
mod calendar;
pub(crate) mod faults;
mod stage;
mod submissions;
mod threads;
mod turns;
