//! Rules of counts over all users: how much there is of what, and who works on it.

use std::time::Duration;

use super::{
    Subject,
    story::{LEASE, run, stop, worker},
};
use crate::{Attempt, Counts, NewRun, NodeRecord};

async fn counts(subject: &Subject) -> Counts {
    subject.backend.census.counts().await.expect("the store counts")
}

async fn nodes(subject: &Subject) -> Vec<NodeRecord> {
    subject.backend.census.nodes().await.expect("the store answers")
}

/// A run that is not to begin before its time.
async fn delay(subject: &Subject, id: &str, seconds: u64) {
    let available_at = Some(subject.now().plus(Duration::from_secs(seconds)));
    let new = NewRun { available_at, ..subject.new_run(subject.header(&subject.user("bob"), id, id)) };
    subject.backend.queue.submit(new, None).await.expect("a run is submitted");
}

/// Every run that has not ended is counted once, where it stands; those that have ended are not.
pub async fn counts_runs_by_where_they_stand(subject: Subject) {
    assert_eq!(counts(&subject).await, Counts::default());
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    subject.start(&ada, "t", "running-1").await;
    subject.start(&ada, "t", "running-2").await;
    subject.start(&bob, "t", "parked").await.park(None).await;
    subject.start(&bob, "t", "asleep").await.park(Some(subject.now().plus(Duration::from_secs(60)))).await;
    for n in 0..3 {
        subject.start(&subject.user("carol"), "t", &format!("ended-{n}")).await.end().await;
    }
    delay(&subject, "delayed", 60).await;
    for id in ["queued", "blocked-1", "blocked-2", "blocked-3"] {
        subject.line_up(&bob, "line", id).await;
    }
    let expected = Counts { running: 2, waiting: 2, delayed: 1, queued: 1, blocked: 3, users: 2, ..Counts::default() };
    assert_eq!(counts(&subject).await, expected);
    let (mut writer, _) = subject.claim_one("w").await;
    assert_eq!(counts(&subject).await, Counts { running: 3, queued: 0, ..expected.clone() });
    writer.end().await;
    assert_eq!(counts(&subject).await, Counts { queued: 1, blocked: 2, ..expected });
}

/// A run is to be claimed when its time has come, whether somebody has claimed meanwhile or not, and so is one that is
/// woken. The oldest of them has been able to begin since then.
pub async fn counts_a_run_as_queued_when_its_time_has_come(subject: Subject) {
    delay(&subject, "late", 10).await;
    delay(&subject, "later", 25).await;
    subject.start(&subject.ada(), "t", "parked").await.park(None).await;
    let queued = |counts: Counts| (counts.queued, counts.delayed, counts.waiting, counts.oldest_queued_ms);
    assert_eq!(queued(counts(&subject).await), (0, 2, 1, 0));
    subject.pass(14);
    assert_eq!(queued(counts(&subject).await), (1, 1, 1, 4_000));
    subject.backend.runs.request_cancel(&subject.ada(), &run("parked"), stop("enough")).await.expect("a wish");
    subject.pass(1);
    assert_eq!(queued(counts(&subject).await), (2, 1, 0, 5_000));
    assert_eq!(subject.claim_names("w", 1).await.len(), 1);
    assert_eq!(counts(&subject).await.queued, 1);
    subject.pass(10);
    assert_eq!(counts(&subject).await.delayed, 0);
}

/// Calls are counted while they are due, tried again included, and when they are given up.
pub async fn counts_calls_that_are_due_or_dead(subject: Subject) {
    let (ada, calls) = (subject.ada(), &subject.backend.webhooks);
    for id in ["waits", "due", "again", "dead", "taken"] {
        let mut writer = super::webhooks::start(&subject, &ada, "t", id).await;
        if id != "waits" {
            writer.end().await;
        }
    }
    let error = || "refused".to_owned();
    let again = Attempt::Again { at: subject.now().plus(Duration::from_secs(60)), error: error() };
    for (id, attempt) in [("again", again), ("dead", Attempt::Dead { error: error() }), ("taken", Attempt::Delivered)] {
        calls.settle_webhook(&ada, &run(id), attempt).await.expect("it is settled");
    }
    let counts = counts(&subject).await;
    assert_eq!((counts.webhooks_due, counts.webhooks_dead), (2, 1));
}

/// Whoever holds runs is named with their number, and whoever has renewed a lease that has not ended, in order.
pub async fn names_those_who_hold_runs(subject: Subject) {
    let (ada, start, lease) = (subject.ada(), subject.now(), Duration::from_secs(LEASE));
    for id in ["r1", "r2", "r3"] {
        subject.submit(&ada, "t", id).await;
    }
    assert!(nodes(&subject).await.is_empty());
    subject.claim("b", 2).await;
    subject.claim("a", 1).await;
    subject.pass(10);
    for name in ["b", "idle"] {
        subject.backend.queue.renew(&worker(name), lease).await.expect("a lease is renewed");
    }
    let node = |worker: &str, runs, lease_until| NodeRecord { worker: worker.to_owned(), runs, lease_until };
    let (first, renewed) = (start.plus(lease), start.plus(lease + Duration::from_secs(10)));
    assert_eq!(nodes(&subject).await, [node("a", 1, first), node("b", 2, renewed), node("idle", 0, renewed)]);
    subject.pass(LEASE);
    assert_eq!(nodes(&subject).await, [node("a", 1, first), node("b", 2, renewed)], "what they hold is still theirs");
}
