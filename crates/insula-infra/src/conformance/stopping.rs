//! Rules of wishes to stop that come before the run, and of those that are meant for many.

use std::collections::BTreeSet;

use insula_context::UserScope;
use serde_json::json;

use super::{
    Subject,
    story::{run, stop},
    subject::thread,
};
use crate::{Append, CancelRequest, Committed, Error, EventType, RunChange, RunFilter, RunStatus};

const HOUR: u64 = 3_600;

async fn ask(subject: &Subject, scope: &UserScope, id: &str, why: &str) -> CancelRequest {
    subject.backend.runs.request_cancel(scope, &run(id), stop(why)).await.expect("the store answers")
}

async fn ask_all(subject: &Subject, scope: &UserScope, filter: &RunFilter) -> BTreeSet<String> {
    let asked = subject.backend.runs.request_cancel_all(scope, filter, stop("all")).await.expect("the store answers");
    asked.iter().map(ToString::to_string).collect()
}

async fn create(subject: &Subject, scope: &UserScope, id: &str) -> Result<Committed, Error> {
    subject.backend.queue.append(subject.creation(scope, "t", id)).await
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

/// Nobody stops a run that another user is about to begin.
pub async fn stops_ahead_for_its_owner_only(subject: Subject) {
    for other in subject.others() {
        assert_eq!(ask(&subject, &other, "r", "not mine").await, CancelRequest::Ahead);
    }
    create(&subject, &subject.ada(), "r").await.expect("nobody with a right to it has stopped the run");
    assert_eq!(subject.record(&subject.ada(), "r").await.cancel, None);
}

/// The wish to stop all runs is about those of the asker.
pub async fn stops_all_runs_of_their_owner_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    let of_the_thread = RunFilter { thread: Some(thread("t")), ..RunFilter::default() };
    for other in subject.others() {
        for filter in [&of_the_thread, &RunFilter::default()] {
            assert!(ask_all(&subject, &other, filter).await.is_empty(), "{other} stopped somebody else's run");
        }
    }
    assert_eq!(subject.record(&subject.ada(), "r").await.cancel, None);
}

/// A run that was stopped before it was submitted is handed out at once, with the wish, and not before it is wanted.
pub async fn hands_out_a_run_that_was_stopped_ahead(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(ask(&subject, &ada, "r", "ahead").await, CancelRequest::Ahead);
    let found = subject.backend.runs.run(&ada, &run("r")).await.expect("the store answers");
    assert!(found.is_none(), "a wish is not a run");
    subject.line_up(&ada, "t", "first").await;
    let (mut first, _) = subject.claim_one("w").await;
    let later = Some(subject.now().plus(std::time::Duration::from_secs(600)));
    let new = subject.in_turn(&ada, "t", "r", crate::ThreadPolicy::Enqueue);
    let answer = subject.backend.queue.submit(crate::NewRun { available_at: later, ..new }, None).await;
    answer.expect("it is submitted");
    let (mut writer, claimed) = subject.claim_one("w").await;
    assert_eq!((claimed.lease.header.run.clone(), claimed.run.cancel), (run("r"), Some(stop("ahead"))));
    writer.obey(stop("ahead")).await;
    first.end().await;
    assert!(subject.claim("w", 9).await.is_empty());
}

/// A run that was stopped ahead is not created by an append, unless that says that it was stopped.
pub async fn refuses_to_create_what_was_stopped_ahead(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(ask(&subject, &ada, "r", "ahead").await, CancelRequest::Ahead);
    for _ in 0..2 {
        let refused = create(&subject, &ada, "r").await;
        let Err(Error::CancelledAhead { run: id, reason }) = refused else { panic!("it was created: {refused:?}") };
        assert_eq!((id, reason), (run("r"), stop("ahead")));
    }
    assert!(subject.events(&ada, "t").await.is_empty(), "something of a refused append was kept");
    let mut append = subject.creation(&ada, "t", "r");
    append.events = vec![subject.event(EventType::AgentCancelled, &json!({}))];
    append.change = Some(RunChange::Cancelled(stop("ahead")));
    subject.backend.queue.append(append).await.expect("its end is taken");
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.cancel), (RunStatus::Cancelled, Some(stop("ahead"))));
}

/// The first of two wishes is kept.
pub async fn keeps_the_first_wish_ahead(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(ask(&subject, &ada, "r", "first").await, CancelRequest::Ahead);
    assert_eq!(ask(&subject, &ada, "r", "second").await, CancelRequest::Ahead);
    let refused = create(&subject, &ada, "r").await;
    assert!(matches!(&refused, Err(Error::CancelledAhead { reason, .. }) if *reason == stop("first")), "{refused:?}");
}

/// A wish for a run that never comes is forgotten after an hour by the store's clock, and not before.
pub async fn forgets_a_wish_after_an_hour(subject: Subject) {
    let ada = subject.ada();
    for id in ["in-time", "too-late", "submitted-too-late"] {
        assert_eq!(ask(&subject, &ada, id, "ahead").await, CancelRequest::Ahead);
    }
    subject.pass(HOUR - 1);
    assert!(create(&subject, &ada, "in-time").await.is_err());
    subject.pass(1);
    create(&subject, &ada, "too-late").await.expect("the wish is forgotten");
    subject.submit(&ada, "t", "submitted-too-late").await;
    for id in ["too-late", "submitted-too-late"] {
        assert_eq!(subject.record(&ada, id).await.cancel, None, "{id}");
    }
}

/// An owner's thousand latest wishes are kept; of more, the oldest go.
pub async fn keeps_a_thousand_wishes_ahead(subject: Subject) {
    let ada = subject.ada();
    for n in 0..1_001 {
        assert_eq!(ask(&subject, &ada, &format!("r{n}"), "ahead").await, CancelRequest::Ahead);
    }
    for (id, stopped) in [("r0", false), ("r1", true), ("r1000", true)] {
        assert_eq!(create(&subject, &ada, id).await.is_err(), stopped, "{id}");
    }
}

/// The wish for a filter reaches every run that has not ended, in whatever state, and says which those are.
pub async fn stops_all_runs_of_a_filter(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "running").await;
    subject.start(&ada, "t", "parked").await.park(None).await;
    subject.line_up(&ada, "t", "queued").await;
    subject.line_up(&ada, "t", "blocked").await;
    subject.start(&ada, "t", "ended").await.end().await;
    subject.start(&ada, "u", "elsewhere").await;
    let of_the_thread = RunFilter { thread: Some(thread("t")), ..RunFilter::default() };
    let asked = ask_all(&subject, &ada, &of_the_thread).await;
    assert_eq!(asked, set(["running", "parked", "queued", "blocked"]));
    for (id, expected) in [("running", true), ("blocked", true), ("ended", false), ("elsewhere", false)] {
        assert_eq!(subject.record(&ada, id).await.cancel.is_some(), expected, "{id}");
    }
    let claimed: BTreeSet<_> = subject.claim_names("w", 9).await.into_iter().collect();
    assert_eq!(claimed, set(["parked", "queued", "blocked"]));
    let news = subject.backend.queue.news(&super::story::worker("creator")).await.expect("news are told");
    assert_eq!(news.iter().map(|news| news.header.run.to_string()).collect::<BTreeSet<_>>(), set(["running"]));
}

/// A filter by status and agent is obeyed, and an earlier wish keeps its reason.
pub async fn stops_what_a_filter_lets_through(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "running").await;
    subject.start(&ada, "t", "parked").await.park(None).await;
    let waiting = RunFilter { status: Some(RunStatus::Waiting), ..RunFilter::default() };
    assert_eq!(ask_all(&subject, &ada, &waiting).await, set(["parked"]));
    let unknown = RunFilter { agent: Some("another".to_owned()), ..RunFilter::default() };
    assert!(ask_all(&subject, &ada, &unknown).await.is_empty());
    assert_eq!(ask(&subject, &ada, "running", "earlier").await, CancelRequest::Recorded);
    assert_eq!(ask_all(&subject, &ada, &RunFilter::default()).await, set(["running", "parked"]));
    assert_eq!(subject.record(&ada, "running").await.cancel, Some(stop("earlier")));
    let ended = RunFilter { status: Some(RunStatus::Completed), ..RunFilter::default() };
    subject.start(&ada, "t", "ended").await.end().await;
    assert!(ask_all(&subject, &ada, &ended).await.is_empty());
}

/// A run that exists is not stopped ahead by a wish for it.
pub async fn a_wish_for_a_known_run_is_not_ahead(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    assert_eq!(ask(&subject, &ada, "r", "now").await, CancelRequest::Recorded);
    let more =
        Append { events: vec![subject.event(EventType::Custom, &json!(1))], ..Append::new(writer.lease.clone(), 1) };
    subject.backend.queue.append(more).await.expect("its holder writes until it obeys");
    writer.after += 1;
    writer.obey(stop("now")).await;
    assert_eq!(ask(&subject, &ada, "r", "late").await, CancelRequest::Ended(RunStatus::Cancelled));
}
