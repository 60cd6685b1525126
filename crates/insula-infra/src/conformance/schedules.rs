//! Rules of schedules: whose they are, when they are due, and that a slot is taken once.

use std::time::Duration;

use insula_context::{Timestamp, UserScope};
use serde_json::json;
use tokio::task::JoinSet;

use super::{Subject, story::raw};
use crate::ScheduleRecord;

fn schedule(subject: &Subject, name: &str, next_at: Option<Timestamp>) -> ScheduleRecord {
    ScheduleRecord { name: name.to_owned(), spec: raw(&json!({"agent": "echo"})), created_at: subject.now(), next_at }
}

async fn put(subject: &Subject, scope: &UserScope, record: ScheduleRecord) {
    subject.backend.schedules.put_schedule(scope, record).await.expect("a schedule is kept");
}

async fn list(subject: &Subject, scope: &UserScope) -> Vec<ScheduleRecord> {
    subject.backend.schedules.schedules(scope).await.expect("schedules are listed")
}

/// The names of the due schedules, each with its owner.
async fn due(subject: &Subject, max: usize) -> Vec<(UserScope, String)> {
    let (due, now) = subject.backend.queue.due_schedules(max).await.expect("due schedules are listed");
    assert_eq!(now, subject.now(), "the store's clock");
    due.into_iter().map(|(scope, schedule)| (scope, schedule.name)).collect()
}

async fn advance(subject: &Subject, scope: &UserScope, from: Timestamp, to: Option<Timestamp>) -> bool {
    subject.backend.queue.advance_schedule(scope, "s", from, to).await.expect("a schedule is moved")
}

/// Another user's schedule is as absent as one that never was.
pub async fn hides_schedules_from_other_users(subject: Subject) {
    put(&subject, &subject.ada(), schedule(&subject, "s", None)).await;
    for other in subject.others() {
        assert!(list(&subject, &other).await.is_empty(), "{other} read a schedule");
    }
}

/// Nobody deletes or replaces another user's schedule.
pub async fn changes_the_schedule_of_its_owner_only(subject: Subject) {
    let now = subject.now();
    put(&subject, &subject.ada(), schedule(&subject, "s", Some(now))).await;
    for other in subject.others() {
        let deleted = subject.backend.schedules.delete_schedule(&other, "s").await.expect("the store answers");
        assert!(!deleted, "{other} deleted a schedule");
        put(&subject, &other, schedule(&subject, "s", None)).await;
    }
    assert_eq!(list(&subject, &subject.ada()).await[0].next_at, Some(now));
}

/// A slot is moved for its owner only, and a due schedule names its owner.
pub async fn moves_the_schedule_of_its_owner_only(subject: Subject) {
    let now = subject.now();
    put(&subject, &subject.ada(), schedule(&subject, "s", Some(now))).await;
    assert_eq!(due(&subject, 9).await, [(subject.ada(), "s".to_owned())]);
    for other in subject.others() {
        assert!(!advance(&subject, &other, now, None).await, "{other} moved a schedule");
    }
    assert_eq!(due(&subject, 9).await.len(), 1);
}

/// Schedules are listed by name, as they were made; one of the same name replaces another.
pub async fn lists_schedules_by_name(subject: Subject) {
    let ada = subject.ada();
    for name in ["b", "c", "a"] {
        put(&subject, &ada, schedule(&subject, name, None)).await;
    }
    let later = Some(subject.now().plus(Duration::from_secs(60)));
    let replaced = ScheduleRecord { spec: raw(&json!([2])), ..schedule(&subject, "b", later) };
    put(&subject, &ada, replaced).await;
    let listed = list(&subject, &ada).await;
    let names: Vec<_> = listed.iter().map(|schedule| schedule.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!((listed[1].spec.get(), listed[1].next_at, listed[1].created_at), ("[2]", later, subject.now()));
    assert_eq!((listed[0].spec.get(), listed[0].next_at), (r#"{"agent":"echo"}"#, None));
}

/// A schedule is due when its slot has come by the store's clock; a paused one never is.
pub async fn tells_what_is_due(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    let at = |seconds| Some(subject.now().plus(Duration::from_secs(seconds)));
    put(&subject, &ada, schedule(&subject, "soon", at(10))).await;
    put(&subject, &bob, schedule(&subject, "sooner", at(5))).await;
    put(&subject, &ada, schedule(&subject, "later", at(20))).await;
    put(&subject, &ada, schedule(&subject, "paused", None)).await;
    subject.pass(4);
    assert!(due(&subject, 9).await.is_empty());
    subject.pass(6);
    let (soon, sooner) = ((ada, "soon".to_owned()), (bob, "sooner".to_owned()));
    let mut found = due(&subject, 9).await;
    found.sort();
    let mut expected = [soon, sooner];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(due(&subject, 1).await.len(), 1, "no more than was asked for");
}

/// What was deleted or replaced is not due by its old slot.
pub async fn forgets_the_slot_of_what_was_changed(subject: Subject) {
    let ada = subject.ada();
    let soon = Some(subject.now().plus(Duration::from_secs(5)));
    for name in ["deleted", "paused", "moved"] {
        put(&subject, &ada, schedule(&subject, name, soon)).await;
    }
    for expected in [true, false] {
        let deleted = subject.backend.schedules.delete_schedule(&ada, "deleted").await.expect("the store answers");
        assert_eq!(deleted, expected);
    }
    put(&subject, &ada, schedule(&subject, "paused", None)).await;
    put(&subject, &ada, schedule(&subject, "moved", Some(subject.now().plus(Duration::from_secs(50))))).await;
    subject.pass(10);
    assert!(due(&subject, 9).await.is_empty());
    subject.pass(40);
    assert_eq!(due(&subject, 9).await, [(ada, "moved".to_owned())]);
}

/// A slot is taken by one of many nodes, and the schedule stands at the next one then.
pub async fn moves_a_slot_once_under_concurrency(subject: Subject) {
    let ada = subject.ada();
    let first = subject.now();
    let next = Some(first.plus(Duration::from_secs(60)));
    put(&subject, &ada, schedule(&subject, "s", Some(first))).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let subject = subject.clone();
        tasks.spawn(async move { advance(&subject, &subject.ada(), first, next).await });
    }
    let moved = tasks.join_all().await.into_iter().filter(|moved| *moved).count();
    assert_eq!((moved, list(&subject, &ada).await[0].next_at), (1, next));
    assert!(due(&subject, 9).await.is_empty());
}

/// A schedule without a further slot stays, and is due no more; one that was changed or deleted is not moved.
pub async fn moves_only_from_where_it_stands(subject: Subject) {
    let ada = subject.ada();
    let now = subject.now();
    let other = now.plus(Duration::from_secs(1));
    assert!(!advance(&subject, &ada, now, None).await, "there is none");
    put(&subject, &ada, schedule(&subject, "s", Some(now))).await;
    assert!(!advance(&subject, &ada, other, None).await, "it stands elsewhere");
    assert!(advance(&subject, &ada, now, None).await);
    assert!(!advance(&subject, &ada, now, Some(other)).await, "it has no slot");
    assert_eq!(list(&subject, &ada).await[0].next_at, None);
    assert!(due(&subject, 9).await.is_empty());
}
