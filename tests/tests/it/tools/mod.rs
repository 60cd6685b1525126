//! A tool is called one way only, and what is said of it is what happened.

mod calls;
mod limits;
mod results;
