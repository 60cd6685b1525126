//! The whole engine in virtual time from a seed: several nodes in one process, on a store that fails, delays and loses
//! the connection at any call, held against a small pure model of what must come out.
//!
//! In reading order: [`plan`] (what a run is to do) and [`model`] (what may come of it), [`actor`] (the agent that does it)
//! and [`ledger`] (what was really done), [`world`], [`fault`], [`link`] and [`layer`] (what
//! goes wrong), [`book`] (the invariants of
//! every operation), [`cluster`] (the nodes), `people` (the users), [`story`] (one seed), [`verdict`] (its end), [`mutants`], [`report`].

pub mod actor;
pub mod book;
pub mod cluster;
pub mod fault;
pub mod layer;
pub mod ledger;
pub mod link;
pub mod model;
pub mod mutants;
mod people;
pub mod plan;
pub mod report;
pub mod rng;
pub mod story;
pub mod verdict;
pub mod world;
