//! The example through the real engine, on real SQLite.

mod analyses;
mod island;
mod rendering;
mod runs;
