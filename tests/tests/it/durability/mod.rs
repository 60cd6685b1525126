//! Finished work is never done twice: a run whose worker was lost goes on where it was.

mod appends;
mod book;
mod cases;
mod differences;
mod handover;
mod killed;
mod parking;
mod points;
mod reconcile;
mod seen;
mod spending;
mod stopping;
mod story;
mod table;
mod tap;
mod tape;
mod undo;
mod waits;
mod windows;
mod wreck;
