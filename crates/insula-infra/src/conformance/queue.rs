//! Rules of handing out runs: to whom, when, in whose turn.

use std::{collections::BTreeSet, time::Duration};

use insula_context::{IdSource, SeededIds, UserScope};
use tokio::task::JoinSet;

use super::{
    Subject,
    story::{LEASE, run, stop, worker},
};
use crate::{CancelRequest, Error, NewRun, RunChange, RunStatus, Submitted};

async fn submit_with_key(subject: &Subject, scope: &UserScope, id: &str, key: &str) -> Result<Submitted, Error> {
    let run = subject.new_run(subject.header(scope, "t", id));
    subject.backend.queue.submit(run, Some(key)).await
}

async fn renew(subject: &Subject, by: &str) {
    let lease = Duration::from_secs(LEASE);
    subject.backend.queue.renew(&worker(by), lease).await.expect("a lease is renewed");
}

async fn stops(subject: &Subject, by: &str) -> Vec<(String, String)> {
    let stops = subject.backend.queue.news(&worker(by)).await.expect("stops are told");
    stops.into_iter().filter_map(|news| Some((news.header.run.to_string(), news.stop?.why))).collect()
}

async fn ask_to_stop(subject: &Subject, scope: &UserScope, id: &str) {
    let answer = subject.backend.runs.request_cancel(scope, &run(id), stop("enough")).await;
    assert_eq!(answer.expect("the store answers"), CancelRequest::Recorded, "the run is there");
}

/// An idempotency key of one user means nothing to another.
pub async fn keeps_idempotency_keys_apart(subject: Subject) {
    submit_with_key(&subject, &subject.ada(), "hers", "k").await.expect("it is submitted");
    for (n, other) in subject.others().into_iter().enumerate() {
        let answer = submit_with_key(&subject, &other, &format!("theirs-{n}"), "k").await;
        assert!(matches!(answer, Ok(Submitted::New)), "{other}: {answer:?}");
    }
}

/// A claimed run names the owner who submitted it.
pub async fn claims_a_run_for_its_owner(subject: Subject) {
    let mut expected = BTreeSet::new();
    for owner in [[subject.ada()].as_slice(), &subject.others()].concat() {
        subject.submit(&owner, "t", "r").await;
        expected.insert(owner);
    }
    let claimed: BTreeSet<_> = subject.claim("w", 9).await.iter().map(|c| c.lease.header.scope.clone()).collect();
    assert_eq!(claimed, expected);
}

/// The wish of one user does not stop the run of the same id of another.
pub async fn stops_the_run_of_its_owner_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let answer = subject.backend.runs.request_cancel(&other, &run("r"), stop("not mine")).await;
        assert_eq!(
            answer.expect("the store answers"),
            CancelRequest::Ahead,
            "{other} stopped a run of {}",
            subject.ada()
        );
    }
    assert!(stops(&subject, "creator").await.is_empty());
}

/// A second submission with the same key answers with the first one's run and adds nothing.
pub async fn answers_a_known_key_with_its_run(subject: Subject) {
    let ada = subject.ada();
    submit_with_key(&subject, &ada, "first", "k").await.expect("it is submitted");
    let again = submit_with_key(&subject, &ada, "second", "k").await.expect("it is answered");
    let Submitted::Known(record) = again else { panic!("the key was known: {again:?}") };
    assert_eq!(record.header.run, run("first"));
    assert!(matches!(submit_with_key(&subject, &ada, "third", "other").await, Ok(Submitted::New)));
    assert_eq!(subject.claim_names("w", 9).await, ["first", "third"]);
}

/// Of many simultaneous submissions with one key, one makes the run.
pub async fn makes_one_run_of_a_key_under_concurrency(subject: Subject) {
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let subject = subject.clone();
        tasks.spawn(async move { submit_with_key(&subject, &subject.ada(), &format!("r{n}"), "k").await });
    }
    let answers = tasks.join_all().await;
    let new = answers.iter().filter(|answer| matches!(answer, Ok(Submitted::New))).count();
    assert_eq!((new, subject.claim("w", 99).await.len()), (1, 1));
}

/// A submitted run can be seen, and is handed out once, as it was submitted.
pub async fn hands_out_a_submitted_run_once(subject: Subject) {
    let ada = subject.ada();
    let deadline = Some(subject.now().plus(Duration::from_secs(600)));
    let run = NewRun { deadline, ..subject.new_run(subject.header(&ada, "t", "r")) };
    subject.backend.queue.submit(run, None).await.expect("it is submitted");
    assert_eq!(subject.status(&ada, "r").await, RunStatus::Queued);
    let (_, claimed) = subject.claim_one("w").await;
    assert_eq!((claimed.lease.token, claimed.deadline), (1, deadline));
    assert_eq!((claimed.run.status, claimed.run.events), (RunStatus::Queued, 0));
    assert_eq!((claimed.run.input.get(), &*claimed.run.version), (r#"{"question":1}"#, "1.0.0"));
    assert!(subject.claim("w", 1).await.is_empty(), "a held run was handed out");
}

/// A claimed run is started and ended by whoever claimed it.
pub async fn runs_what_was_claimed_to_its_end(subject: Subject) {
    let ada = subject.ada();
    subject.submit(&ada, "t", "r").await;
    let (mut writer, _) = subject.claim_one("w").await;
    let started = subject.event(crate::EventType::AgentStarted, &serde_json::json!({}));
    writer.write(vec![started], Some(RunChange::Running)).await.expect("the run starts");
    assert_eq!(subject.status(&ada, "r").await, RunStatus::Running);
    writer.end().await;
    assert_eq!(subject.status(&ada, "r").await, RunStatus::Completed);
    subject.pass(2 * LEASE);
    assert!(subject.claim("w", 1).await.is_empty(), "an ended run was handed out");
}

/// No more than was asked for.
pub async fn claims_at_most_what_is_asked_for(subject: Subject) {
    for n in 0..5 {
        subject.submit(&subject.ada(), "t", &format!("r{n}")).await;
    }
    assert_eq!(subject.claim("w", 0).await.len(), 0);
    assert_eq!(subject.claim("w", 2).await.len(), 2);
    assert_eq!(subject.claim("w", 9).await.len(), 3);
}

/// One owner's runs are handed out as they came.
pub async fn serves_one_owner_first_come_first_served(subject: Subject) {
    let names: Vec<_> = (0..9).map(|n| format!("r{n}")).collect();
    for name in &names {
        subject.submit(&subject.ada(), "t", name).await;
    }
    let mut claimed = subject.claim_names("w", 4).await;
    claimed.extend(subject.claim_names("w", 9).await);
    assert_eq!(claimed, names);
}

/// With one user holding many queued runs, another's only run comes in the second place and not behind them.
pub async fn serves_owners_in_turn(subject: Subject) {
    for n in 0..200 {
        subject.submit(&subject.ada(), "t", &format!("flood-{n}")).await;
    }
    assert_eq!(subject.claim("w", 3).await.len(), 3);
    let bob = subject.user("bob");
    subject.submit(&bob, "t", "bob-1").await;
    subject.submit(&bob, "t", "bob-2").await;
    subject.submit(&subject.user("eve"), "t", "eve-1").await;
    let next: BTreeSet<_> = subject.claim_names("w", 4).await.into_iter().collect();
    assert!(next.contains("bob-1") && next.contains("eve-1"), "the flood was served first: {next:?}");
}

/// Of many claims at a time, each run goes to one.
pub async fn hands_each_run_to_one_worker_under_concurrency(subject: Subject) {
    for n in 0..60 {
        subject.submit(&subject.user(&format!("user-{}", n % 7)), "t", &format!("r{n}")).await;
    }
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let subject = subject.clone();
        tasks.spawn(async move { subject.claim_names(&format!("w{n}"), 10).await });
    }
    let claimed = tasks.join_all().await.concat();
    assert_eq!((claimed.len(), claimed.iter().collect::<BTreeSet<_>>().len()), (60, 60));
}

/// A run is not handed out before it is available.
pub async fn hands_out_no_run_before_its_time(subject: Subject) {
    let available_at = Some(subject.now().plus(Duration::from_secs(10)));
    let run = NewRun { available_at, ..subject.new_run(subject.header(&subject.ada(), "t", "later")) };
    subject.backend.queue.submit(run, None).await.expect("it is submitted");
    subject.pass(9);
    assert!(subject.claim("w", 1).await.is_empty(), "a run was handed out before its time");
    subject.pass(1);
    assert_eq!(subject.claim_names("w", 1).await, ["later"]);
}

/// A run whose worker is lost goes to another one, with a later token and all that was recorded.
pub async fn gives_an_expired_lease_to_another_worker(subject: Subject) {
    subject.submit(&subject.ada(), "t", "r").await;
    let (mut lost, _) = subject.claim_one("lost").await;
    lost.write(Vec::new(), Some(RunChange::Running)).await.expect("the run starts");
    lost.say(&[1, 2]).await;
    subject.pass(LEASE - 1);
    assert!(subject.claim("other", 1).await.is_empty(), "a lease was taken before its end");
    subject.pass(2);
    let (mut other, claimed) = subject.claim_one("other").await;
    assert_eq!((claimed.lease.token, claimed.run.status, claimed.run.events), (2, RunStatus::Running, 2));
    other.say(&[3]).await;
    assert!(lost.try_say(&[4]).await.is_err(), "the lost worker still writes");
}

/// So does a run that never was in the queue.
pub async fn takes_over_a_run_that_was_created_running(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    subject.pass(LEASE + 1);
    let (mut writer, claimed) = subject.claim_one("other").await;
    assert_eq!((claimed.lease.token, claimed.run.status), (2, RunStatus::Running));
    writer.end().await;
}

/// A run can be lost again and again: every claim makes all earlier tokens stale.
pub async fn every_claim_makes_earlier_tokens_stale(subject: Subject) {
    let mut earlier = vec![subject.start(&subject.ada(), "t", "r").await];
    for token in 2..6 {
        subject.pass(LEASE + 1);
        let (writer, _) = subject.claim_one(&format!("w{token}")).await;
        assert_eq!(writer.lease.token, token);
        for stale in &mut earlier {
            assert!(matches!(stale.try_say(&[1]).await, Err(Error::StaleLease { .. })));
        }
        earlier.push(writer);
    }
}

/// A worker that renews keeps everything that it holds, claimed or created, and nobody else keeps anything by it.
pub async fn keeps_what_its_worker_renews(subject: Subject) {
    subject.submit(&subject.ada(), "t", "claimed").await;
    assert_eq!(subject.claim("creator", 1).await.len(), 1);
    subject.start(&subject.ada(), "t", "created").await;
    subject.submit(&subject.ada(), "t", "lost").await;
    assert_eq!(subject.claim("lost", 1).await.len(), 1);
    for _ in 0..4 {
        subject.pass(LEASE - 10);
        renew(&subject, "creator").await;
    }
    assert_eq!(subject.claim_names("other", 9).await, ["lost"]);
    subject.pass(LEASE + 1);
    assert_eq!(subject.claim("other-still", 9).await.len(), 3);
}

/// A parked run holds nothing and is handed out at its time.
pub async fn wakes_a_parked_run_at_its_time(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.park(Some(subject.now().plus(Duration::from_secs(3 * LEASE)))).await;
    assert_eq!(subject.status(&ada, "r").await, RunStatus::Waiting);
    subject.pass(2 * LEASE);
    assert!(subject.claim("w", 1).await.is_empty(), "a parked run was handed out before its time");
    subject.pass(LEASE);
    let (mut awake, claimed) = subject.claim_one("w").await;
    assert_eq!((claimed.run.status, claimed.run.events), (RunStatus::Waiting, 2));
    awake.write(Vec::new(), Some(RunChange::Running)).await.expect("the run goes on");
    awake.end().await;
}

/// Parking gives the lease back: its writer has nothing to write with.
pub async fn takes_the_lease_back_when_a_run_is_parked(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    writer.park(None).await;
    let refused = writer.try_say(&[1]).await;
    assert!(matches!(refused, Err(Error::StaleLease { .. })), "{refused:?}");
    subject.pass(100 * LEASE);
    assert!(subject.claim("w", 1).await.is_empty(), "a run without a time to wake at was handed out");
}

/// A parked run that is asked to stop is handed out at once, also when it was asked before it was parked.
pub async fn wakes_a_parked_run_that_is_asked_to_stop(subject: Subject) {
    let ada = subject.ada();
    let far = Some(subject.now().plus(Duration::from_secs(1_000_000)));
    for (id, until) in [("without-time", None), ("with-time", far)] {
        subject.start(&ada, "t", id).await.park(until).await;
        ask_to_stop(&subject, &ada, id).await;
        let (mut writer, claimed) = subject.claim_one("w").await;
        assert_eq!((claimed.run.status, claimed.run.cancel), (RunStatus::Waiting, Some(stop("enough"))));
        writer.obey(stop("enough")).await;
    }
    let mut asked = subject.start(&ada, "t", "asked-before").await;
    ask_to_stop(&subject, &ada, "asked-before").await;
    asked.park(far).await;
    assert_eq!(subject.claim_names("w", 2).await, ["asked-before"]);
    subject.pass(2_000_000);
    assert_eq!(subject.claim_names("w", 9).await, ["asked-before"], "a stopped run was woken by its old alarm");
}

/// A wish that arrives before the run starts is there for whoever claims it.
pub async fn hands_over_a_wish_that_came_before_the_start(subject: Subject) {
    let ada = subject.ada();
    subject.submit(&ada, "t", "r").await;
    ask_to_stop(&subject, &ada, "r").await;
    let (mut writer, claimed) = subject.claim_one("w").await;
    assert_eq!(claimed.run.cancel, Some(stop("enough")));
    writer.obey(stop("enough")).await;
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(stop("enough"))));
}

/// A worker is told of the runs that it holds and that were asked to stop, until they end, and of no others.
pub async fn tells_a_worker_what_to_stop(subject: Subject) {
    let ada = subject.ada();
    let mut asked = subject.start(&ada, "t", "asked").await;
    subject.start(&ada, "t", "not-asked").await;
    ask_to_stop(&subject, &ada, "asked").await;
    let expected = [("asked".to_owned(), "enough".to_owned())];
    assert_eq!(stops(&subject, "creator").await, expected);
    assert_eq!(stops(&subject, "creator").await, expected, "a wish is told as long as it is not obeyed");
    assert!(stops(&subject, "somebody else").await.is_empty());
    asked.obey(stop("enough")).await;
    assert!(stops(&subject, "creator").await.is_empty(), "an obeyed wish is told no more");
}

/// A run's wish to stop moves with its lease.
pub async fn tells_the_worker_that_took_over(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await;
    ask_to_stop(&subject, &ada, "r").await;
    subject.pass(LEASE + 1);
    assert_eq!(subject.claim("other", 1).await.len(), 1);
    assert!(stops(&subject, "creator").await.is_empty());
    assert_eq!(stops(&subject, "other").await.len(), 1);
}

/// Whatever the order of submissions, claims, losses, parkings and ends: every run ends once, and none is forgotten.
pub async fn ends_every_run_once_whatever_happens(subject: Subject) {
    let dice = SeededIds::new(41);
    let roll = |sides: u128| dice.random() % sides;
    let (mut submitted, mut ended) = (0_u64, 0_u64);
    for _ in 0..400 {
        if submitted < 40 {
            let owner = subject.user(&format!("user-{}", roll(5)));
            subject.submit(&owner, &format!("t{}", roll(3)), &format!("r{submitted}")).await;
            submitted += 1;
        }
        for claimed in subject.claim("w", 3).await {
            let mut writer = subject.writer(claimed.lease, claimed.run.events);
            match roll(4) {
                0 => writer.park(Some(subject.now().plus(Duration::from_secs(5)))).await,
                1 => drop(writer.try_say(&[submitted]).await.expect("the holder writes")),
                2 => writer.write(Vec::new(), Some(RunChange::Running)).await.map(drop).expect("the holder writes"),
                _ => {
                    writer.end().await;
                    ended += 1;
                }
            }
        }
        subject.pass(8);
    }
    assert_eq!((submitted, ended), (40, 40), "seed 41");
}
