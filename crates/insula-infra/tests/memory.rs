//! The memory backend keeps every rule, and the rules find those who do not.

use std::{collections::BTreeSet, sync::Arc};

use insula_infra::{
    Backend, MemoryBackend,
    conformance::{self, ManualClock, Rule, Subject, leaky::leaky, mutants},
};

async fn memory() -> Subject {
    let clock = Arc::new(ManualClock::new());
    Subject::new(MemoryBackend::with(clock.clone()).into_backend(), clock)
}

insula_infra::conformance!(keeps, memory);

/// The rules of everything that memory has.
fn rules(wanted: impl Fn(&Rule) -> bool) -> Vec<Rule> {
    conformance::rules().into_iter().filter(|rule| rule.group != "database" && wanted(rule)).collect()
}

/// The names of the given rules that a mistake breaks.
async fn broken(rules: &[Rule], mistake: fn(Backend) -> Backend) -> Vec<String> {
    let mut broken = Vec::new();
    for rule in rules {
        let subject = memory().await;
        let mistaken = mistake(subject.backend.clone());
        if rule.broken_by(subject.with_backend(mistaken)).await.is_some() {
            broken.push(format!("{rule:?}"));
        }
    }
    broken
}

#[tokio::test]
async fn every_rule_of_isolation_finds_the_leak() {
    let isolation = rules(|rule| rule.isolation);
    let names: Vec<_> = isolation.iter().map(|rule| format!("{rule:?}")).collect();
    assert_eq!(broken(&isolation, leaky).await, names);
    assert!(broken(&isolation, std::convert::identity).await.is_empty());
}

#[test]
fn every_scoped_port_has_a_rule_of_isolation() {
    let groups: BTreeSet<_> = conformance::rules().iter().filter(|r| r.isolation).map(|r| r.group).collect();
    let others = BTreeSet::from(["health"]);
    let all: BTreeSet<_> = conformance::rules().iter().map(|r| r.group).collect();
    assert_eq!(groups, all.difference(&others).copied().collect());
}

#[tokio::test]
async fn an_ignored_fencing_token_is_found() {
    let found = broken(&rules(|rule| rule.group == "append"), mutants::ignores_the_fencing_token).await;
    assert_eq!(found, ["append::refuses_a_stale_lease"]);
}

#[tokio::test]
async fn news_before_the_write_is_found() {
    let rule = rules(|rule| rule.name == "tells_only_of_what_can_be_read");
    assert_eq!(broken(&rule, mutants::tells_before_it_writes).await, ["signals::tells_only_of_what_can_be_read"]);
}

#[tokio::test]
async fn a_dropped_event_is_found() {
    let names = ["reads_events_as_they_were_written", "reads_one_run_of_a_shared_thread"];
    let found = broken(&rules(|rule| names.contains(&rule.name)), mutants::drops_the_last_event).await;
    assert_eq!(found, names.map(|name| format!("log::{name}")));
}
