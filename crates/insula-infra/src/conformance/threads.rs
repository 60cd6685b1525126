//! Rules of the runs of a thread: one at a time, in order, as the policy of the one that comes says.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{
    Subject,
    story::{LEASE, names, run, stop},
    subject::thread,
};
use crate::{CancelRequest, Error, NewRun, RunStatus, Submitted, ThreadPolicy};

async fn submit(subject: &Subject, run: NewRun) -> Result<Submitted, Error> {
    subject.backend.queue.submit(run, None).await
}

/// A thread of one user is not busy with the runs of another.
pub async fn keeps_the_threads_of_two_users_apart(subject: Subject) {
    subject.line_up(&subject.ada(), "t", "hers").await;
    for (n, other) in subject.others().into_iter().enumerate() {
        let theirs = subject.in_turn(&other, "t", &format!("theirs-{n}"), ThreadPolicy::Reject);
        let answer = submit(&subject, theirs).await;
        assert!(matches!(answer, Ok(Submitted::New)), "{other}: {answer:?}");
    }
    assert_eq!(subject.claim("w", 9).await.len(), 4);
}

/// Nobody stops another user's run by a policy.
pub async fn interrupts_the_runs_of_its_owner_only(subject: Subject) {
    subject.line_up(&subject.ada(), "t", "hers").await;
    for (n, other) in subject.others().into_iter().enumerate() {
        let theirs = subject.in_turn(&other, "t", &format!("theirs-{n}"), ThreadPolicy::Interrupt);
        submit(&subject, theirs).await.expect("it is submitted");
    }
    assert_eq!(subject.record(&subject.ada(), "hers").await.cancel, None);
}

/// The runs of a thread are handed out one at a time, in the order in which they came, and those of others beside them.
pub async fn runs_a_thread_one_at_a_time(subject: Subject) {
    let ada = subject.ada();
    for id in ["a", "b", "c"] {
        subject.line_up(&ada, "t", id).await;
    }
    subject.line_up(&ada, "elsewhere", "d").await;
    assert_eq!(subject.status(&ada, "b").await, RunStatus::Queued);
    let mut first = subject.claim_writers("w", 9).await;
    let ids: Vec<_> = first.iter().map(|writer| writer.lease.header.run.as_str()).collect();
    assert_eq!(ids, ["a", "d"]);
    first[0].end().await;
    for id in ["b", "c"] {
        let (mut writer, claimed) = subject.claim_one("w").await;
        assert_eq!(claimed.lease.header.run.as_str(), id);
        writer.end().await;
    }
    assert!(subject.claim("w", 9).await.is_empty());
}

/// However many submit and claim at a time, no two runs of a thread are under way together.
pub async fn runs_a_thread_one_at_a_time_under_concurrency(subject: Subject) {
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let subject = subject.clone();
        tasks.spawn(async move { subject.line_up(&subject.ada(), "t", &format!("r{n}")).await });
    }
    tasks.join_all().await;
    for n in 0..16 {
        let mut claims = JoinSet::new();
        for k in 0..3 {
            let subject = subject.clone();
            claims.spawn(async move { subject.claim_writers(&format!("w{k}"), 9).await });
        }
        let mut writers = claims.join_all().await.concat();
        assert_eq!(writers.len(), 1, "claim {n}");
        writers[0].end().await;
    }
}

/// A run that waits for a human or a timer has not ended: the next one waits for it.
pub async fn a_parked_run_keeps_its_turn(subject: Subject) {
    let ada = subject.ada();
    subject.line_up(&ada, "t", "a").await;
    subject.line_up(&ada, "t", "b").await;
    let (mut writer, _) = subject.claim_one("w").await;
    writer.park(Some(subject.now().plus(Duration::from_secs(5)))).await;
    assert!(subject.claim("w", 9).await.is_empty(), "a run overtook the parked one");
    subject.pass(5);
    let (mut writer, claimed) = subject.claim_one("w").await;
    assert_eq!(claimed.lease.header.run, run("a"));
    writer.end().await;
    assert_eq!(subject.claim_names("w", 9).await, ["b"]);
}

/// A run whose worker was lost keeps its turn.
pub async fn a_lost_run_keeps_its_turn(subject: Subject) {
    let ada = subject.ada();
    subject.line_up(&ada, "t", "a").await;
    subject.line_up(&ada, "t", "b").await;
    assert_eq!(subject.claim_names("lost", 9).await, ["a"]);
    subject.pass(LEASE + 1);
    let (mut writer, claimed) = subject.claim_one("w").await;
    assert_eq!(claimed.lease.header.run, run("a"));
    writer.end().await;
    assert_eq!(subject.claim_names("w", 9).await, ["b"]);
}

/// Runs that were created by an append, children among them, neither wait nor are waited for.
pub async fn waits_for_submitted_runs_only(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "created").await;
    subject.start_child(&ada, "t", "child", "created").await;
    let answer = submit(&subject, subject.in_turn(&ada, "t", "a", ThreadPolicy::Reject)).await;
    assert!(matches!(answer, Ok(Submitted::New)), "{answer:?}");
    assert_eq!(subject.claim_names("w", 9).await, ["a"]);
    let mut another = subject.start(&ada, "t", "another").await;
    another.end().await;
}

/// The policy to refuse names the run that is in the way, and leaves nothing behind.
pub async fn refuses_a_run_in_a_busy_thread(subject: Subject) {
    let ada = subject.ada();
    subject.line_up(&ada, "t", "a").await;
    let refused = submit(&subject, subject.in_turn(&ada, "t", "b", ThreadPolicy::Reject)).await;
    let Err(Error::ThreadBusy { thread: found, run: by }) = refused else { panic!("it was not refused: {refused:?}") };
    assert_eq!((found, by), (thread("t"), run("a")));
    let absent = subject.backend.runs.run(&ada, &run("b")).await.expect("the store answers");
    assert!(absent.is_none(), "a refused run was kept");
    let (mut writer, _) = subject.claim_one("w").await;
    let refused = submit(&subject, subject.in_turn(&ada, "t", "b", ThreadPolicy::Reject)).await;
    assert!(matches!(refused, Err(Error::ThreadBusy { .. })), "{refused:?}");
    writer.end().await;
    let answer = submit(&subject, subject.in_turn(&ada, "t", "b", ThreadPolicy::Reject)).await;
    assert!(matches!(answer, Ok(Submitted::New)), "{answer:?}");
}

/// A known key is answered with its run, also when a new run would be refused.
pub async fn answers_a_known_key_in_a_busy_thread(subject: Subject) {
    let ada = subject.ada();
    let submit = async |id: &str| {
        let run = subject.in_turn(&ada, "t", id, ThreadPolicy::Reject);
        subject.backend.queue.submit(run, Some("k")).await.expect("it is answered")
    };
    assert!(matches!(submit("a").await, Submitted::New));
    let Submitted::Known(record) = submit("b").await else { panic!("the key was known") };
    assert_eq!(record.header.run, run("a"));
}

/// The policy to interrupt stops all those before it, those that wait as well, and comes when the last has ended.
pub async fn interrupts_those_before_it(subject: Subject) {
    let ada = subject.ada();
    subject.line_up(&ada, "t", "a").await;
    subject.line_up(&ada, "t", "b").await;
    let (mut held, _) = subject.claim_one("w").await;
    submit(&subject, subject.in_turn(&ada, "t", "c", ThreadPolicy::Interrupt)).await.expect("it is submitted");
    let mut by = Vec::new();
    for id in ["a", "b"] {
        let record = subject.record(&ada, id).await;
        assert!(!record.rolled_back, "{id} was interrupted and not rolled back");
        by.push(record.cancel.expect("it was asked to stop"));
    }
    assert_eq!([by[0].by.as_str(), by[1].by.as_str()], ["policy", "policy"]);
    let (mut blocked, claimed) = subject.claim_one("w").await;
    assert_eq!((claimed.lease.header.run.as_str(), claimed.run.cancel.is_some()), ("b", true));
    blocked.obey(by[1].clone()).await;
    assert!(subject.claim("w", 9).await.is_empty(), "it came before the first had stopped");
    held.obey(by[0].clone()).await;
    assert_eq!(subject.claim_names("w", 9).await, ["c"]);
    assert_eq!(subject.record(&ada, "c").await.cancel, None);
}

/// An interrupted run is told to whoever holds it.
pub async fn tells_the_holder_of_the_interruption(subject: Subject) {
    let ada = subject.ada();
    subject.line_up(&ada, "t", "a").await;
    subject.claim_one("w").await;
    submit(&subject, subject.in_turn(&ada, "t", "b", ThreadPolicy::Interrupt)).await.expect("it is submitted");
    let news = subject.backend.queue.news(&super::story::worker("w")).await.expect("news are told");
    assert_eq!(news.len(), 1);
    assert_eq!((&news[0].header.run, news[0].stop.is_some()), (&run("a"), true));
}

/// The policy to roll back interrupts, and says so in the records of what it replaces; what ended before stays as it is.
pub async fn marks_what_is_rolled_back(subject: Subject) {
    let ada = subject.ada();
    for id in ["ended", "a", "b"] {
        subject.line_up(&ada, "t", id).await;
    }
    let (mut writer, _) = subject.claim_one("w").await;
    writer.end().await;
    submit(&subject, subject.in_turn(&ada, "t", "c", ThreadPolicy::Rollback)).await.expect("it is submitted");
    for (id, expected) in [("ended", false), ("a", true), ("b", true), ("c", false)] {
        let record = subject.record(&ada, id).await;
        assert_eq!((record.rolled_back, record.cancel.is_some()), (expected, expected), "{id}");
    }
    for writer in &mut subject.claim_writers("w", 9).await {
        writer.obey(stop("rolled back")).await;
    }
    assert!(subject.record(&ada, "a").await.rolled_back, "the end took the mark away");
    assert_eq!(subject.claim_names("w", 9).await, ["c"]);
}

/// A run that waits for its turn and is asked to stop is handed out at once, and the one behind it still waits.
pub async fn hands_out_a_waiting_run_that_is_asked_to_stop(subject: Subject) {
    let ada = subject.ada();
    for id in ["a", "b", "c"] {
        subject.line_up(&ada, "t", id).await;
    }
    let (mut first, _) = subject.claim_one("w").await;
    let answer = subject.backend.runs.request_cancel(&ada, &run("b"), stop("enough")).await;
    assert_eq!(answer.expect("the store answers"), CancelRequest::Recorded);
    let (mut asked, claimed) = subject.claim_one("w").await;
    assert_eq!((claimed.lease.header.run.clone(), claimed.run.cancel), (run("b"), Some(stop("enough"))));
    asked.obey(stop("enough")).await;
    assert!(subject.claim("w", 9).await.is_empty(), "the last one overtook the first");
    first.end().await;
    assert_eq!(subject.claim_names("w", 9).await, ["c"]);
}

/// A run that is to come later waits for its turn and for its time.
pub async fn waits_for_its_turn_and_its_time(subject: Subject) {
    let ada = subject.ada();
    let later = |seconds| Some(subject.now().plus(Duration::from_secs(seconds)));
    subject.line_up(&ada, "t", "a").await;
    let b = NewRun { available_at: later(20), ..subject.in_turn(&ada, "t", "b", ThreadPolicy::Enqueue) };
    submit(&subject, b).await.expect("it is submitted");
    subject.line_up(&ada, "t", "c").await;
    let (mut first, _) = subject.claim_one("w").await;
    first.end().await;
    assert!(subject.claim("w", 9).await.is_empty(), "a run was handed out before its time, or before its turn");
    subject.pass(20);
    let claimed = subject.claim("w", 9).await;
    assert_eq!(names(&claimed), ["b"]);
    subject.writer(claimed[0].lease.clone(), 0).end().await;
    assert_eq!(subject.claim_names("w", 9).await, ["c"]);
}
