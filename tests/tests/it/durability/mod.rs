//! Finished work is never done twice: a run whose worker was lost goes on where it was.

mod differences;
mod killed;
mod prefixes;
mod spending;
mod story;
mod tape;
mod waits;
