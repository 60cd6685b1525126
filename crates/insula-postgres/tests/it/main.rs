//! Postgres, tried through what the crate makes public.

mod database;
