//! Rules of whose turn it is: priorities, weights, and how many runs of one owner may be held or queued.

use std::time::Duration;

use insula_context::UserScope;
use serde_json::json;

use super::{
    Subject,
    story::{LEASE, names, raw, run},
};
use crate::{Error, NewRun, Submitted, ThreadPolicy};

/// A run in a thread of its own, so that only its owner's limits hold it back.
fn alone(subject: &Subject, scope: &UserScope, id: &str) -> NewRun {
    subject.in_turn(scope, &format!("thread-of-{id}"), id, ThreadPolicy::Enqueue)
}

async fn submit(subject: &Subject, run: NewRun) {
    let answer = subject.backend.queue.submit(run, None).await.expect("a run is submitted");
    assert!(matches!(answer, Submitted::New), "a submission without a key is new");
}

async fn flood(subject: &Subject, scope: &UserScope, name: &str, runs: usize) {
    for n in 0..runs {
        submit(subject, alone(subject, scope, &format!("{name}-{n}"))).await;
    }
}

/// What is held of one user takes nothing from another.
pub async fn counts_the_held_runs_of_their_owner_only(subject: Subject) {
    flood(&subject, &subject.ada(), "hers", 2).await;
    assert_eq!(subject.claim_under("w", 9, 1).await.len(), 1);
    for (n, other) in subject.others().into_iter().enumerate() {
        flood(&subject, &other, &format!("theirs-{n}"), 1).await;
        assert_eq!(subject.claim_under("w", 9, 1).await.len(), 1, "{other} was passed over");
    }
}

/// What is queued of one user takes no place from another.
pub async fn counts_the_queued_runs_of_their_owner_only(subject: Subject) {
    flood(&subject, &subject.ada(), "hers", 2).await;
    for (n, other) in subject.others().into_iter().enumerate() {
        let run = NewRun { most_queued: Some(2), ..alone(&subject, &other, &format!("theirs-{n}")) };
        let answer = subject.backend.queue.submit(run, None).await;
        assert!(answer.is_ok(), "{other} was refused: {answer:?}");
    }
}

/// An owner's runs are handed out by priority, those of the same in the order in which they came.
pub async fn serves_higher_priorities_first(subject: Subject) {
    let ada = subject.ada();
    for (id, priority) in [("a", 0), ("b", -5), ("c", 7), ("d", 0), ("e", 7), ("f", i16::MIN), ("g", i16::MAX)] {
        submit(&subject, NewRun { priority, ..alone(&subject, &ada, id) }).await;
    }
    let mut claimed = subject.claim_names("w", 3).await;
    claimed.extend(subject.claim_names("w", 9).await);
    assert_eq!(claimed, ["g", "c", "e", "a", "d", "b", "f"]);
}

/// A priority counts among the runs of its owner and moves nobody else.
pub async fn a_priority_moves_no_other_owner(subject: Subject) {
    for n in 0..9 {
        submit(&subject, NewRun { priority: 100, ..alone(&subject, &subject.ada(), &format!("hers-{n}")) }).await;
    }
    flood(&subject, &subject.user("bob"), "his", 1).await;
    let claimed = subject.claim_names("w", 2).await;
    assert!(claimed.contains(&"his-0".to_owned()), "{claimed:?}");
}

/// An owner of weight three is served three times as often, by one claim and by many.
pub async fn serves_owners_by_their_weight(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    flood(&subject, &ada, "hers", 30).await;
    submit(&subject, NewRun { weight: 3, ..alone(&subject, &ada, "hers-last") }).await;
    flood(&subject, &bob, "his", 30).await;
    let hers = |claimed: &[String]| claimed.iter().filter(|id| id.starts_with("hers")).count();
    assert_eq!(hers(&subject.claim_names("w", 8).await), 6, "of eight in one claim");
    let mut one_by_one = Vec::new();
    for _ in 0..8 {
        one_by_one.extend(subject.claim_names("w", 1).await);
    }
    assert_eq!(hers(&one_by_one), 6, "of eight in eight claims");
}

/// A weight of nothing is a weight of one.
pub async fn serves_an_owner_without_weight(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    for n in 0..4 {
        submit(&subject, NewRun { weight: 0, ..alone(&subject, &ada, &format!("hers-{n}")) }).await;
    }
    flood(&subject, &bob, "his", 4).await;
    let claimed = subject.claim_names("w", 4).await;
    assert_eq!(claimed.iter().filter(|id| id.starts_with("hers")).count(), 2, "{claimed:?}");
}

/// Nobody is given more runs of one owner than may be held, and the others are served.
pub async fn passes_over_an_owner_of_whom_enough_is_held(subject: Subject) {
    flood(&subject, &subject.ada(), "hers", 6).await;
    flood(&subject, &subject.user("bob"), "his", 1).await;
    let mut first = subject.claim_under("w", 9, 2).await;
    first.sort_by_key(|claimed| claimed.lease.header.run.to_string());
    assert_eq!(names(&first), ["hers-0", "hers-1", "his-0"]);
    assert!(subject.claim_under("another", 9, 2).await.is_empty(), "what others hold counts as well");
    subject.writer(first[0].lease.clone(), 0).end().await;
    assert_eq!(names(&subject.claim_under("another", 9, 2).await), ["hers-2"], "one has ended");
    subject.writer(first[1].lease.clone(), 0).park(None).await;
    assert_eq!(names(&subject.claim_under("w", 9, 2).await), ["hers-3"], "one is parked");
    assert!(subject.claim_under("w", 9, 2).await.is_empty());
}

/// A run whose lease has expired is not held: it is the first to come again.
pub async fn an_expired_lease_holds_nothing(subject: Subject) {
    flood(&subject, &subject.ada(), "hers", 1).await;
    assert_eq!(subject.claim_under("lost", 9, 1).await.len(), 1);
    subject.pass(LEASE + 1);
    let again = subject.claim_under("w", 9, 1).await;
    assert_eq!((names(&again), again[0].lease.token), (vec!["hers-0"], 2));
}

/// Whoever is passed over under one limit is found under a wider one.
pub async fn a_wider_limit_finds_who_was_passed_over(subject: Subject) {
    flood(&subject, &subject.ada(), "hers", 5).await;
    assert_eq!(subject.claim_under("w", 9, 1).await.len(), 1);
    assert_eq!(subject.claim_under("w", 9, 1).await.len(), 0);
    assert_eq!(subject.claim_under("w", 9, 3).await.len(), 2);
    assert_eq!(subject.claim_under("w", 9, usize::MAX).await.len(), 2);
}

/// Runs that were created by an append take no place of those that were submitted.
pub async fn counts_submitted_runs_only(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "created").await;
    subject.start_child(&ada, "t", "child", "created").await;
    let run = NewRun { most_queued: Some(1), ..alone(&subject, &ada, "submitted") };
    submit(&subject, run).await;
    assert_eq!(names(&subject.claim_under("w", 9, 1).await), ["submitted"]);
}

/// An owner with as many queued runs as allowed is refused one more, until some have been claimed.
pub async fn refuses_more_queued_runs_than_allowed(subject: Subject) {
    let ada = subject.ada();
    let most = |id: &str| NewRun { most_queued: Some(2), ..alone(&subject, &ada, id) };
    let waits = NewRun { available_at: Some(subject.now().plus(Duration::from_secs(600))), ..most("later") };
    submit(&subject, waits).await;
    subject.backend.queue.submit(most("now"), Some("k")).await.expect("it is submitted");
    let refused = subject.backend.queue.submit(most("more"), None).await;
    assert!(matches!(refused, Err(Error::QueueFull { limit: 2 })), "{refused:?}");
    let absent = subject.backend.runs.run(&ada, &run("more")).await.expect("the store answers");
    assert!(absent.is_none(), "a refused run was kept");
    let known = subject.backend.queue.submit(most("again"), Some("k")).await;
    assert!(matches!(known, Ok(Submitted::Known(_))), "{known:?}");
    let (mut writer, _) = subject.claim_one("w").await;
    submit(&subject, most("more")).await;
    writer.park(Some(subject.now())).await;
    let refused = subject.backend.queue.submit(most("one-more"), None).await;
    assert!(matches!(refused, Err(Error::QueueFull { limit: 2 })), "a parked run is not a queued one: {refused:?}");
}

/// What the engine wrote down for itself is handed out with the run, every time.
pub async fn hands_out_the_options_of_a_run(subject: Subject) {
    let options = Some(raw(&json!({"budget": {"tokens": 5}})));
    submit(&subject, NewRun { options, ..alone(&subject, &subject.ada(), "r") }).await;
    for _ in 0..2 {
        let (_, claimed) = subject.claim_one("w").await;
        assert_eq!(claimed.options.expect("it has options").get(), r#"{"budget":{"tokens":5}}"#);
        subject.pass(LEASE + 1);
    }
    let mut append = subject.creation(&subject.ada(), "u", "created");
    append.create.as_mut().expect("a creation").0.options = Some(raw(&json!(7)));
    subject.backend.queue.append(append).await.expect("a run is created");
    subject.pass(LEASE + 1);
    let claimed = subject.claim("w", 9).await;
    let created = claimed.iter().find(|claimed| claimed.lease.header.run == run("created")).expect("it is claimed");
    assert_eq!(created.options.as_ref().expect("it has options").get(), "7");
}

/// Whoever claims is told the store's time.
pub async fn tells_the_time_of_the_claim(subject: Subject) {
    submit(&subject, alone(&subject, &subject.ada(), "r")).await;
    subject.pass(77);
    let (_, claimed) = subject.claim_one("w").await;
    assert_eq!(claimed.now, subject.now());
}
