//! Finished work is never done twice: a run whose worker was lost goes on where it was.

mod appends;
mod book;
mod cases;
mod differences;
mod killed;
mod points;
mod seen;
mod story;
mod tap;
mod tape;
mod waits;
