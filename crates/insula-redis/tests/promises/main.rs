//! What holds while Redis fails, tried on a real one.

mod cache;
mod faults;
mod signals;
mod support;
