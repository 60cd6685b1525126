//! Rules of usage: what an append uses is summed up in the same write, for its owner, its agent and its day.

use std::{sync::Arc, time::Duration};

use insula_context::UserScope;
use serde_json::json;

use super::{
    Subject,
    story::{Writer, completed, stop},
};
use crate::{Amounts, Append, Error, EventType, FailReason, Failure, RunChange, RunHeader, Spent, UsageRow};

const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

async fn usage(subject: &Subject, scope: &UserScope, (from, to): (i64, i64)) -> Vec<UsageRow> {
    subject.backend.usage.usage(scope, from, to).await.expect("the store answers")
}

/// The only row that there is.
async fn one(subject: &Subject, scope: &UserScope) -> UsageRow {
    let mut rows = usage(subject, scope, ALWAYS).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0)
}

fn today(subject: &Subject) -> i64 {
    UsageRow::day_of(subject.now())
}

async fn fail(subject: &Subject, writer: &mut Writer) {
    let event = subject.event(EventType::AgentFailed, &json!({}));
    let failure = Failure { reason: FailReason::Error, message: "no".to_owned() };
    writer.write(vec![event], Some(RunChange::Failed(failure))).await.expect("the run ends");
}

fn spending(subject: &Subject, writer: &Writer, index: u32, (tokens, money): (u64, u64)) -> Append {
    let spent = vec![Spent { index, amounts: Amounts { tokens, money, ..Amounts::default() } }];
    let event = subject.event(EventType::ToolCompleted, &json!({}));
    Append { spent, ..writer.append(vec![event], None) }
}

async fn spend(subject: &Subject, writer: &mut Writer, index: u32, amounts: (u64, u64)) {
    writer.send(spending(subject, writer, index, amounts)).await.expect("a call is settled");
    writer.after += 1;
}

/// What one user uses is not counted for another, and not shown to another.
pub async fn counts_usage_for_each_user_alone(subject: Subject) {
    let mut hers = subject.start(&subject.ada(), "t", "r").await;
    spend(&subject, &mut hers, 1, (10, 20)).await;
    hers.end().await;
    for other in subject.others() {
        let found = usage(&subject, &other, ALWAYS).await;
        assert!(found.is_empty(), "{other} was shown {found:?}");
        subject.start(&other, "t", "r").await.end().await;
        let row = one(&subject, &other).await;
        assert_eq!((row.completed, row.tokens), (1, 0), "{other}");
    }
    assert_eq!(one(&subject, &subject.ada()).await.completed, 1);
}

/// A run is counted when it ends, by how it ends; one that has not ended is not.
pub async fn counts_how_runs_end(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "open").await;
    subject.start(&ada, "t", "parked").await.park(None).await;
    assert!(usage(&subject, &ada, ALWAYS).await.is_empty());
    for id in ["c1", "c2", "c3"] {
        subject.start(&ada, "t", id).await.end().await;
    }
    for id in ["f1", "f2"] {
        fail(&subject, &mut subject.start(&ada, "t", id).await).await;
    }
    subject.start(&ada, "t", "s1").await.obey(stop("enough")).await;
    let at_once = Append { change: completed(), ..subject.creation(&ada, "t", "at-once") };
    let ends = subject.event(EventType::AgentCompleted, &json!("done"));
    let events = at_once.events.iter().cloned().chain([ends]).collect();
    subject.backend.queue.append(Append { events, ..at_once }).await.expect("a run is created and ends");
    let row = one(&subject, &ada).await;
    assert_eq!((row.completed, row.failed, row.cancelled), (4, 2, 1));
    assert_eq!((row.day, row.agent.as_str()), (today(&subject), "echo"));
}

/// How long runs took is summed up and put into buckets; one that never began took nothing.
pub async fn counts_how_long_runs_take(subject: Subject) {
    let ada = subject.ada();
    for (id, millis) in [("at-once", 0), ("one", 1), ("three", 3), ("second", 1_000), ("hours", 30_000_000)] {
        let mut writer = subject.start(&ada, "t", id).await;
        subject.clock.advance(Duration::from_millis(millis));
        writer.end().await;
    }
    subject.submit(&ada, "t", "never").await;
    subject.pass(60);
    let (mut never, _) = subject.claim_one("w").await;
    never.obey(stop("enough")).await;
    let row = one(&subject, &ada).await;
    assert_eq!(row.run_micros, 30_001_004_000);
    let mut took = vec![0; UsageRow::BUCKETS];
    (took[0], took[1], took[2], took[10], took[23]) = (2, 1, 1, 1, 1);
    assert_eq!(row.took, took);
}

/// What calls cost is counted when it is settled, whatever becomes of the run, and however much it is.
pub async fn counts_what_was_spent(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    spend(&subject, &mut writer, 1, (10, 0)).await;
    spend(&subject, &mut writer, 2, (5, 700)).await;
    let row = one(&subject, &ada).await;
    assert_eq!((row.tokens, row.money, row.completed), (15, 700, 0));
    fail(&subject, &mut writer).await;
    let row = one(&subject, &ada).await;
    assert_eq!((row.tokens, row.money, row.failed), (15, 700, 1));
    let mut writer = subject.start(&ada, "t", "large").await;
    for index in 1..=3 {
        spend(&subject, &mut writer, index, (u64::MAX, u64::MAX)).await;
    }
    let row = one(&subject, &ada).await;
    assert!(row.tokens >= i64::MAX as u64 && row.money >= i64::MAX as u64, "{row:?}");
}

/// A child counts under its own agent, and its parent's under the parent's.
pub async fn counts_what_was_spent_by_whom(subject: Subject) {
    let ada = subject.ada();
    let mut parent = subject.start(&ada, "t", "parent").await;
    let mut creation = subject.creation(&ada, "t", "child");
    let header = (*creation.lease.header).clone();
    let header = RunHeader { parent: Some(parent.lease.header.run.clone()), agent: Arc::from("another"), ..header };
    creation.lease.header = Arc::new(header);
    creation.create.as_mut().expect("a creation").0.header = Arc::clone(&creation.lease.header);
    let mut child = subject.writer(creation.lease.clone(), 1);
    subject.backend.queue.append(creation).await.expect("a child is created");
    spend(&subject, &mut child, 1, (3, 0)).await;
    child.end().await;
    spend(&subject, &mut parent, 1, (4, 0)).await;
    parent.end().await;
    let rows = usage(&subject, &ada, ALWAYS).await;
    let found: Vec<_> = rows.iter().map(|row| (row.agent.as_str(), row.completed, row.tokens)).collect();
    assert_eq!(found, [("another", 1, 3), ("echo", 1, 4)]);
}

/// What is used counts on the day on which it is, and both ends of a question belong to it.
pub async fn counts_each_day_alone(subject: Subject) {
    let (ada, first) = (subject.ada(), today(&subject));
    let mut writer = subject.start(&ada, "t", "r").await;
    for index in 1..=3 {
        spend(&subject, &mut writer, index, (u64::from(index), 0)).await;
        subject.pass(24 * 60 * 60);
    }
    subject.start(&subject.user("bob"), "t", "his").await.end().await;
    subject.pass(24 * 60 * 60);
    writer.end().await;
    let days = |rows: Vec<UsageRow>| rows.iter().map(|row| (row.day - first, row.tokens)).collect::<Vec<_>>();
    assert_eq!(days(usage(&subject, &ada, ALWAYS).await), [(0, 1), (1, 2), (2, 3), (4, 0)]);
    assert_eq!(days(usage(&subject, &ada, (first + 1, first + 2)).await), [(1, 2), (2, 3)]);
    assert_eq!(days(usage(&subject, &ada, (first + 3, first + 3)).await), []);
    assert_eq!(days(usage(&subject, &ada, (first + 2, first)).await), []);
}

/// An append that is refused has used nothing.
pub async fn counts_nothing_for_a_refused_append(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.say(&[1]).await;
    writer.after = 0;
    let refused = writer.send(spending(&subject, &writer, 1, (10, 10))).await;
    assert!(matches!(refused, Err(Error::OutOfOrder { .. })), "{refused:?}");
    assert!(usage(&subject, &ada, ALWAYS).await.is_empty());
}

/// What was used stays when its threads are deleted or forgotten, and goes with its user.
pub async fn keeps_usage_until_its_user_is_deleted(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "deleted", "r1").await.end().await;
    subject.start(&ada, "forgotten", "r2").await.end().await;
    let deleted = subject.backend.runs.delete_thread(&ada, &super::subject::thread("deleted")).await;
    assert!(deleted.expect("the store answers").is_some());
    subject.pass(1);
    assert_eq!(subject.backend.queue.forget_before(subject.now(), 9).await.expect("the store answers"), 1);
    assert_eq!(one(&subject, &ada).await.completed, 2);
    subject.backend.runs.delete_user(&ada).await.expect("the store answers");
    assert!(usage(&subject, &ada, ALWAYS).await.is_empty());
    subject.start(&subject.user("bob"), "t", "his").await;
    subject.start(&ada, "t", "again").await.end().await;
    assert_eq!(one(&subject, &ada).await.completed, 1);
    assert!(usage(&subject, &subject.user("bob"), ALWAYS).await.is_empty());
}
