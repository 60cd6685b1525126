//! The kit keeps its word: databases of one's own, servers that end, a network that fails as it is told.

mod postgres;
mod proxy;
mod redis;
