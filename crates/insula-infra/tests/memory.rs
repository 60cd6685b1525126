//! The memory backend keeps every rule, and the rules find those who do not.

use std::{collections::BTreeSet, sync::Arc};

use insula_infra::{
    Backend, MemoryBackend,
    conformance::{self, ManualClock, Rule, Subject, leaky::leaky, mutants},
};

/// Stories that the properties of the queue are tried with.
const CASES: u32 = 400;

/// Whether what comes at one instant of the clock is handed out in the order in which it came.
const TELLS_ARRIVALS: bool = true;

async fn subject() -> Subject {
    memory().await
}

async fn memory() -> Subject {
    let clock = Arc::new(ManualClock::new());
    Subject::new(MemoryBackend::with(clock.clone()).into_backend(), clock)
}

mod properties;

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
    let others = BTreeSet::from(["census", "health"]);
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

/// The rules of a group that a mistake breaks, without the group's name.
async fn broken_in(group: &str, mistake: fn(Backend) -> Backend) -> BTreeSet<String> {
    let found = broken(&rules(|rule| rule.group == group), mistake).await;
    found.into_iter().filter_map(|name| Some(name.split_once("::")?.1.to_owned())).collect()
}

#[tokio::test]
async fn an_ignored_policy_of_a_thread_is_found() {
    let found = broken_in("threads", mutants::ignores_the_policy_of_a_thread).await;
    for name in ["runs_a_thread_one_at_a_time", "refuses_a_run_in_a_busy_thread", "interrupts_those_before_it"] {
        assert!(found.contains(name), "{name} is missing in {found:?}");
    }
}

#[tokio::test]
async fn a_lost_wake_of_a_parent_is_found() {
    let found = broken_in("waiting", mutants::loses_the_wake_of_a_parent).await;
    assert!(found.contains("wakes_a_parent_when_its_child_has_ended"), "{found:?}");
    assert!(found.contains("does_not_sleep_behind_a_child_that_has_ended"), "{found:?}");
}

#[tokio::test]
async fn a_second_answer_is_found() {
    let found = broken_in("inbox", mutants::takes_a_second_answer).await;
    let expected = ["takes_no_answer_that_comes_too_late", "takes_one_answer_of_many", "takes_the_first_answer_only"];
    assert_eq!(found, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn a_forgotten_reservation_is_found() {
    let found = broken_in("budgets", mutants::forgets_a_reservation).await;
    for name in ["grants_what_is_left_and_no_more", "grants_no_more_under_concurrency"] {
        assert!(found.contains(name), "{name} is missing in {found:?}");
    }
}

#[tokio::test]
async fn an_ignored_limit_of_an_owner_is_found() {
    let found = broken_in("fairness", mutants::ignores_what_an_owner_holds).await;
    assert!(found.contains("passes_over_an_owner_of_whom_enough_is_held"), "{found:?}");
}

#[tokio::test]
async fn a_call_that_is_given_to_two_is_found() {
    let found = broken_in("webhooks", mutants::gives_a_call_to_two).await;
    for name in ["gives_a_call_to_one_until_its_time_is_over", "gives_a_call_once_under_concurrency"] {
        assert!(found.contains(name), "{name} is missing in {found:?}");
    }
}

#[tokio::test]
async fn an_end_of_which_nobody_is_told_is_found() {
    let found = broken_in("webhooks", mutants::forgets_who_is_to_be_told).await;
    for name in ["a_call_is_due_with_the_end_of_its_run", "a_call_is_due_when_its_run_ends_in_its_first_write"] {
        assert!(found.contains(name), "{name} is missing in {found:?}");
    }
}
