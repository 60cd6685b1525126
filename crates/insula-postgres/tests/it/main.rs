//! Postgres, tried through what the crate makes public.

mod agents;
mod database;
mod escapes;
