//! Tells whoever asked for it that a run has ended: a signed `POST` to a URL of theirs, again and again until it is taken or
//! nobody tries any more. What is to be told stands in the [store](insula_infra::Webhooks), so it is told at least once,
//! whichever process is lost.
//!
//! A URL comes from outside, and is called from inside: [`WebhookRules`] say which addresses may be reached, and are held
//! against the very address that a connection is made to, so a name that changes its meaning gains nothing.
//!
//! In reading order: `rules` and `addresses` (what may be called), `target` (what a submission says), `signature`, `retries`
//! (pure: what comes after a failure), `desk` (pure: whose turn it is), `attempt` (one call), `deliverer` (all of them).

mod addresses;
mod attempt;
mod counters;
mod deliverer;
mod desk;
mod retries;
mod rules;
mod signature;
mod target;
#[cfg(test)]
mod tests;

pub use counters::{WebhookCounters, WebhookCounts};
pub use deliverer::Deliverer;
pub use rules::{PlainHttp, WebhookRules};
pub use target::Target;
