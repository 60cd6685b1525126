//! Rules of a write to a run: who may, in which order, whole or not at all.

use serde_json::json;

use super::{
    Subject,
    story::{LEASE, completed, raw, run, said, worker},
};
use crate::{Append, Error, EventType, Failure, Lease, NewEvent, Payload, RunChange, RunStatus};

/// Two users may use the same ids: both runs exist, and each user reads the own one.
pub async fn gives_two_users_the_same_ids(subject: Subject) {
    let mut hers = subject.start(&subject.ada(), "t", "r").await;
    hers.say(&[1]).await;
    for other in subject.others() {
        let mut theirs = subject.start(&other, "t", "r").await;
        theirs.say(&[2, 3]).await;
        assert_eq!(said(&subject.events(&other, "t").await), [2, 3]);
    }
    assert_eq!(said(&subject.events(&subject.ada(), "t").await), [1]);
}

/// A lease of one user does not write to the run of the same id of another.
pub async fn refuses_the_lease_of_another_user(subject: Subject) {
    let hers = subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let mut theirs = hers.clone();
        theirs.lease.header = subject.header(&other, "t", "r");
        assert!(theirs.try_say(&[9]).await.is_err(), "{other} wrote to a run of {}", subject.ada());
    }
    assert_eq!(subject.record(&subject.ada(), "r").await.events, 1);
}

/// One write creates a run, starts it and ends it.
pub async fn creates_and_ends_a_run_in_one_write(subject: Subject) {
    let ada = subject.ada();
    let mut append = subject.creation(&ada, "t", "r");
    append.events.push(subject.event(EventType::AgentCompleted, &json!("done")));
    append.change = completed();
    let committed = subject.backend.queue.append(append).await.expect("the run is created");
    assert_eq!(committed.head, 2);
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.events), (RunStatus::Completed, 2));
    assert_eq!(record.result.expect("a result").get(), "\"done\"");
    assert!(subject.claim("w", 1).await.is_empty(), "an ended run is not to be claimed");
}

/// A run is created once.
pub async fn refuses_a_second_run_of_the_same_id(subject: Subject) {
    let ada = subject.ada();
    let mut first = subject.start(&ada, "t", "r").await;
    let second = subject.backend.queue.append(subject.creation(&ada, "other", "r")).await;
    assert!(matches!(&second, Err(Error::RunExists { run: id }) if *id == run("r")), "{second:?}");
    let third = subject.backend.queue.submit(subject.new_run(subject.header(&ada, "t", "r")), None).await;
    assert!(matches!(third, Err(Error::RunExists { .. })), "{third:?}");
    first.say(&[1]).await;
    assert!(subject.events(&ada, "other").await.is_empty(), "nothing of the refused run is kept");
}

/// A run that stands in line is queued under its lease, and begins when it is its turn.
pub async fn tells_a_run_in_line_from_one_that_runs(subject: Subject) {
    let ada = subject.ada();
    let mut append = subject.creation(&ada, "t", "r");
    append.events = vec![subject.event(EventType::AgentQueued, &json!({}))];
    append.change = Some(RunChange::Queued);
    let lease = append.lease.clone();
    subject.backend.queue.append(append).await.expect("the run is created");
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.started_at), (RunStatus::Queued, None));
    assert!(subject.claim("other", 1).await.is_empty(), "it is held");
    let events = vec![subject.event(EventType::AgentStarted, &json!({}))];
    let change = Some(RunChange::Running);
    let begun = Append { events, change, ..Append::new(lease, 1) };
    subject.backend.queue.append(begun).await.expect("the run begins");
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.started_at.is_some()), (RunStatus::Running, true));
}

/// A run that begins and ends in its first write has begun when its event says so.
pub async fn knows_when_a_run_began_that_ended_at_once(subject: Subject) {
    let ada = subject.ada();
    subject.submit(&ada, "t", "r").await;
    let (writer, _) = subject.claim_one("w").await;
    let (started, ended) = (EventType::AgentStarted, EventType::AgentCompleted);
    let events = vec![subject.event(started, &json!({})), subject.event(ended, &json!({}))];
    let began = events[0].at;
    subject.backend.queue.append(writer.append(events, completed())).await.expect("the run ends");
    assert_eq!(subject.record(&ada, "r").await.started_at, Some(began));
}

/// Nobody writes to a run that does not exist.
pub async fn refuses_to_write_to_an_absent_run(subject: Subject) {
    let mut nobody = subject.writer(subject.creation(&subject.ada(), "t", "r").lease, 0);
    assert!(nobody.try_say(&[1]).await.is_err(), "a write to an absent run was taken");
    assert!(subject.events(&subject.ada(), "t").await.is_empty());
}

/// Two that created a run of one id have the same token, and one of them has the run.
pub async fn refuses_the_token_of_another_worker(subject: Subject) {
    let ada = subject.ada();
    let mut first = subject.start(&ada, "t", "r").await;
    let lease = Lease { worker: worker("twin"), ..first.lease.clone() };
    let twin = subject.writer(lease, 1).try_say(&[1]).await;
    assert!(matches!(twin, Err(Error::StaleLease { .. })), "{twin:?}");
    first.say(&[2]).await;
}

/// A token that another worker's claim made stale does not write.
pub async fn refuses_a_stale_lease(subject: Subject) {
    let mut slow = subject.start(&subject.ada(), "t", "r").await;
    subject.pass(LEASE + 1);
    let (mut quick, claimed) = subject.claim_one("quick").await;
    assert!(claimed.lease.token > slow.lease.token, "a claim hands out a later token");
    let refused = slow.try_say(&[1]).await;
    assert!(matches!(refused, Err(Error::StaleLease { held: 1, .. })), "{refused:?}");
    quick.say(&[2]).await;
    assert_eq!(said(&subject.events(&subject.ada(), "t").await), [2]);
}

/// A token that was never handed out does not write.
pub async fn refuses_a_token_of_the_future(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    writer.lease.token = 2;
    let refused = writer.try_say(&[1]).await;
    assert!(matches!(refused, Err(Error::StaleLease { held: 2, .. })), "{refused:?}");
}

/// A queued run belongs to nobody before it is claimed.
pub async fn refuses_to_write_to_a_queued_run(subject: Subject) {
    subject.submit(&subject.ada(), "t", "r").await;
    let mut early = subject.writer(subject.creation(&subject.ada(), "t", "r").lease, 0);
    assert!(matches!(early.try_say(&[1]).await, Err(Error::StaleLease { .. })));
}

/// A writer whose earlier write was lost, or done twice, is told so.
pub async fn refuses_an_append_out_of_order(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    for given in [0, 2] {
        writer.after = given;
        let refused = writer.try_say(&[1]).await;
        assert!(matches!(refused, Err(Error::OutOfOrder { given: g, found: 1, .. }) if g == given), "{refused:?}");
    }
    writer.after = 1;
    writer.say(&[1]).await;
}

/// Nothing follows the end.
pub async fn refuses_to_add_after_the_end(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    writer.end().await;
    let refused = writer.try_say(&[1]).await;
    assert!(matches!(refused, Err(Error::RunEnded { .. })), "{refused:?}");
    assert_eq!(subject.record(&subject.ada(), "r").await.events, 2);
}

/// A run ends once, and the first end stays.
pub async fn refuses_a_second_end(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    writer.end().await;
    let failed = RunChange::Failed(Failure { reason: crate::FailReason::Error, message: "late".to_owned() });
    let last = subject.event(EventType::AgentFailed, &json!({}));
    let refused = writer.write(vec![last], Some(failed)).await;
    assert!(matches!(refused, Err(Error::RunEnded { .. })), "{refused:?}");
    assert_eq!(subject.status(&subject.ada(), "r").await, RunStatus::Completed);
}

/// Of several reasons to refuse, the end comes before the lease, and the lease before the order.
pub async fn names_the_first_reason_of_a_refusal(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    let mut wrong = writer.clone();
    (wrong.lease.token, wrong.after) = (7, 7);
    assert!(matches!(wrong.try_say(&[1]).await, Err(Error::StaleLease { .. })), "the lease before the order");
    writer.end().await;
    assert!(matches!(wrong.try_say(&[1]).await, Err(Error::RunEnded { .. })), "the end before the lease");
}

/// A summary does not end without the terminal event, and the log has none without the summary.
pub async fn an_end_and_its_event_are_one(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    let completing = || subject.event(EventType::AgentCompleted, &json!("done"));
    let thinking = || subject.event(EventType::AgentThinking, &json!(1));
    let failing = subject.event(EventType::AgentFailed, &json!({}));
    let contradictions: [(&str, Vec<NewEvent>, Option<RunChange>); 6] = [
        ("no event", vec![], completed()),
        ("another event", vec![thinking()], completed()),
        ("no change", vec![completing()], None),
        ("the event of another end", vec![failing], completed()),
        ("two of them", vec![completing(), completing()], completed()),
        ("something after it", vec![completing(), thinking()], completed()),
    ];
    for (what, events, change) in contradictions {
        let refused = writer.write(events, change).await;
        assert!(matches!(refused, Err(Error::InvalidAppend { .. })), "{what}: {refused:?}");
    }
    writer.end().await;
    assert_eq!(subject.record(&subject.ada(), "r").await.events, 2);
}

/// A refused write leaves no event, no payload and no change.
pub async fn an_append_is_all_or_nothing(subject: Subject) {
    let ada = subject.ada();
    let writer = subject.start(&ada, "t", "r").await;
    let payload = Payload::new(vec![7; 20_000]);
    let hash = payload.hash();
    let events = vec![subject.event(EventType::AgentThinking, &json!(1))];
    let refused = Append { after: 9, payloads: vec![payload], ..writer.append(events, Some(RunChange::Running)) };
    assert!(writer.send(refused).await.is_err(), "an append out of order was taken");
    assert!(subject.backend.log.payload(&ada, &hash).await.expect("the log answers").is_none(), "a payload was kept");
    assert!(said(&subject.events(&ada, "t").await).is_empty(), "an event was kept");
    let second = Append { payloads: vec![Payload::new(vec![8; 20_000])], ..subject.creation(&ada, "new", "r") };
    assert!(subject.backend.queue.append(second).await.is_err(), "a second run of the same id was taken");
    let threads = subject.backend.runs.threads(&ada, &crate::PageRequest::default()).await.expect("the store answers");
    assert_eq!(threads.items.len(), 1, "a refused creation left its thread behind");
}

/// Commits of one run that nobody waited for become durable in order.
pub async fn commits_in_the_order_of_the_appends(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    let mut commits = Vec::new();
    for n in 0..50 {
        let event = subject.event(EventType::AgentThinking, &json!(n));
        commits.push(writer.send(writer.append(vec![event], None)));
        writer.after += 1;
    }
    let last = commits.pop().expect("fifty commits").await.expect("the last is durable");
    assert_eq!(last.head, 51);
    drop(commits);
    assert_eq!(said(&subject.events(&subject.ada(), "t").await), (0..50).collect::<Vec<_>>());
}

/// A dropped commit loses the answer and not the append.
pub async fn keeps_an_append_whose_commit_is_dropped(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    let event = subject.event(EventType::AgentThinking, &json!(1));
    drop(writer.send(writer.append(vec![event], None)));
    writer.after += 1;
    writer.say(&[2]).await;
    assert_eq!(said(&subject.events(&subject.ada(), "t").await), [1, 2]);
}

/// A resumed run is given what it recorded, and readers are not shown it.
pub async fn keeps_a_journal_that_readers_do_not_see(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    let mut neighbour = subject.start(&ada, "t", "neighbour").await;
    let recorded = NewEvent {
        journal: Some(raw(&json!({"secret": "full"}))),
        ..subject.event(EventType::ToolCompleted, &json!({"secret": "•"}))
    };
    writer.write(vec![recorded], None).await.expect("an entry is written");
    neighbour.say(&[1]).await;
    let journal = writer.journal().await.expect("the holder reads the journal");
    assert_eq!(journal.len(), 2, "the journal has the run's own events only");
    assert_eq!(journal[1].kind, EventType::ToolCompleted);
    assert_eq!(journal[1].journal.as_ref().expect("the journal's part").get(), r#"{"secret":"full"}"#);
    let shown = serde_json::to_string(&subject.events(&ada, "t").await).expect("events are JSON");
    assert!(!shown.contains("full"), "readers were shown {shown}");
}

/// Who lost a run does not read its journal.
pub async fn refuses_the_journal_to_a_stale_lease(subject: Subject) {
    let slow = subject.start(&subject.ada(), "t", "r").await;
    subject.pass(LEASE + 1);
    let (quick, _) = subject.claim_one("quick").await;
    assert!(matches!(slow.journal().await, Err(Error::StaleLease { .. })));
    assert_eq!(quick.journal().await.expect("the holder reads the journal").len(), 1);
}

/// A journal is its owner's.
pub async fn hides_the_journal_from_other_users(subject: Subject) {
    let hers = subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let mut theirs = hers.clone();
        theirs.lease.header = subject.header(&other, "t", "r");
        assert!(theirs.journal().await.is_err(), "{other} read a journal of {}", subject.ada());
    }
}
