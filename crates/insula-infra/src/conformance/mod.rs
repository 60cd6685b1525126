//! The rules that every backend must keep, as tests to run against it. A rule's name reads as a promise.
//!
//! [`conformance!`](crate::conformance!) makes one test per rule. [`rules`] is the same list as values, to find out which
//! rules a backend breaks: [`leaky`] and [`mutants`] are backends that break some on purpose, because a suite that cannot
//! fail proves nothing.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use std::sync::Arc;
//! use insula_infra::{MemoryBackend, conformance::{self, ManualClock, Subject}};
//!
//! for rule in conformance::rules().iter().filter(|rule| rule.group == "state" && rule.isolation) {
//!     let clock = Arc::new(ManualClock::new());
//!     let subject = Subject::new(MemoryBackend::with(clock.clone()).into_backend(), clock);
//!     assert_eq!(rule.broken_by(subject).await, None, "{rule:?}");
//! }
//! # }
//! ```

pub mod append;
pub mod audit;
pub mod budgets;
pub mod cache;
pub mod census;
mod clock;
pub mod database;
pub mod fairness;
pub mod health;
pub mod history;
pub mod inbox;
pub mod keys;
mod layer;
pub mod leaky;
mod list;
pub mod log;
mod make;
pub mod mutants;
pub mod queue;
pub mod quota;
pub mod runs;
pub mod schedules;
mod service;
pub mod signals;
pub mod state;
pub mod stopping;
mod story;
mod subject;
pub mod threads;
mod unfair;
mod untold;
pub mod usage;
pub mod waiting;
pub mod webhooks;

use std::{fmt, pin::Pin};

pub use self::{clock::ManualClock, layer::QueueLayer, subject::Subject};

/// A rule at work. It panics when the rule is broken.
pub type Check = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One promise, and how to try it.
#[derive(Clone, Copy)]
pub struct Rule {
    /// The group of rules that it stands in: the module of its function.
    pub group: &'static str,
    /// The name of its function.
    pub name: &'static str,
    /// Whether it says that users do not meet.
    pub isolation: bool,
    /// Tries it on a fresh backend.
    pub check: fn(Subject) -> Check,
}

impl Rule {
    /// Tries the rule: the words of the assertion that this backend breaks, or `None` if it keeps the rule.
    pub async fn broken_by(&self, subject: Subject) -> Option<String> {
        let tried = tokio::spawn((self.check)(subject)).await;
        tried.err().map(|error| insula_context::cleanup::panic_message(&*error.into_panic()))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.group, self.name)
    }
}

/// Every rule, those of the database included.
pub fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    crate::conformance_rules!(append, conformance_entries rules);
    crate::conformance_rules!(queue, conformance_entries rules);
    crate::conformance_rules!(threads, conformance_entries rules);
    crate::conformance_rules!(fairness, conformance_entries rules);
    crate::conformance_rules!(waiting, conformance_entries rules);
    crate::conformance_rules!(inbox, conformance_entries rules);
    crate::conformance_rules!(stopping, conformance_entries rules);
    crate::conformance_rules!(runs, conformance_entries rules);
    crate::conformance_rules!(history, conformance_entries rules);
    crate::conformance_rules!(log, conformance_entries rules);
    crate::conformance_rules!(state, conformance_entries rules);
    crate::conformance_rules!(schedules, conformance_entries rules);
    crate::conformance_rules!(budgets, conformance_entries rules);
    crate::conformance_rules!(cache, conformance_entries rules);
    crate::conformance_rules!(signals, conformance_entries rules);
    crate::conformance_rules!(quota, conformance_entries rules);
    crate::conformance_rules!(keys, conformance_entries rules);
    crate::conformance_rules!(audit, conformance_entries rules);
    crate::conformance_rules!(webhooks, conformance_entries rules);
    crate::conformance_rules!(usage, conformance_entries rules);
    crate::conformance_rules!(census, conformance_entries rules);
    crate::conformance_rules!(health, conformance_entries rules);
    crate::conformance_rules!(database, conformance_entries rules);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_that_is_written_is_on_the_list() {
        let sources = [
            ("append", include_str!("append.rs")),
            ("queue", include_str!("queue.rs")),
            ("threads", include_str!("threads.rs")),
            ("fairness", include_str!("fairness.rs")),
            ("waiting", include_str!("waiting.rs")),
            ("inbox", include_str!("inbox.rs")),
            ("stopping", include_str!("stopping.rs")),
            ("runs", include_str!("runs.rs")),
            ("history", include_str!("history.rs")),
            ("log", include_str!("log.rs")),
            ("state", include_str!("state.rs")),
            ("schedules", include_str!("schedules.rs")),
            ("budgets", include_str!("budgets.rs")),
            ("cache", include_str!("cache.rs")),
            ("signals", include_str!("signals.rs")),
            ("quota", include_str!("quota.rs")),
            ("keys", include_str!("keys.rs")),
            ("audit", include_str!("audit.rs")),
            ("webhooks", include_str!("webhooks.rs")),
            ("usage", include_str!("usage.rs")),
            ("census", include_str!("census.rs")),
            ("health", include_str!("health.rs")),
            ("database", include_str!("database.rs")),
        ];
        let rules = rules();
        for (group, source) in sources {
            let mut written: Vec<_> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('(').map(|(name, _)| name))
                .collect();
            let mut listed: Vec<_> = rules.iter().filter(|rule| rule.group == group).map(|rule| rule.name).collect();
            written.sort_unstable();
            listed.sort_unstable();
            assert_eq!(written, listed, "{group}");
        }
    }
}
