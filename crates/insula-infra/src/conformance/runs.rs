//! Rules of a user's runs and threads: summaries, lists, wishes to stop.

use insula_context::UserScope;
use serde_json::json;

use super::{
    Subject,
    story::{run, stop},
    subject::thread,
};
use crate::{
    CancelRequest, Error, EventType, FailReason, Failure, Fork, Page, PageRequest, RunChange, RunFilter, RunRecord,
    RunStatus, ThreadRecord,
};

async fn list(subject: &Subject, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Page<RunRecord> {
    subject.backend.runs.runs(scope, filter, page).await.expect("runs are listed")
}

fn names(page: &Page<RunRecord>) -> Vec<&str> {
    page.items.iter().map(|record| record.header.run.as_str()).collect()
}

async fn wish(subject: &Subject, scope: &UserScope, id: &str, why: &str) -> Option<CancelRequest> {
    let answer = subject.backend.runs.request_cancel(scope, &run(id), stop(why)).await.expect("the store answers");
    Some(answer).filter(|answer| *answer != CancelRequest::Ahead)
}

/// Another user's run is as absent as one that never was.
pub async fn hides_runs_from_other_users(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let found = subject.backend.runs.run(&other, &run("r")).await.expect("the store answers");
        assert!(found.is_none(), "{other} read a run");
    }
}

/// A list has the asker's runs only, also when it is filtered by another's thread.
pub async fn lists_runs_of_their_owner_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    let by_thread = RunFilter { thread: Some(thread("t")), ..RunFilter::default() };
    for other in subject.others() {
        for filter in [&by_thread, &RunFilter::default()] {
            let page = list(&subject, &other, filter, &PageRequest::default()).await;
            assert!(page.items.is_empty(), "{other} was listed {:?}", names(&page));
        }
    }
}

/// A list has the asker's threads only.
pub async fn lists_threads_of_their_owner_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let page = subject.backend.runs.threads(&other, &PageRequest::default()).await.expect("threads are listed");
        assert!(page.items.is_empty(), "{other} was listed {:?}", page.items);
    }
}

/// Nobody stops another user's run, nor learns that there is one.
pub async fn lets_nobody_else_ask_to_stop(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        assert_eq!(wish(&subject, &other, "r", "not mine").await, None, "{other} asked");
    }
    assert_eq!(subject.record(&subject.ada(), "r").await.cancel, None);
}

/// What never was is absent, and not an error.
pub async fn answers_none_for_an_absent_run(subject: Subject) {
    let found = subject.backend.runs.run(&subject.ada(), &run("r")).await;
    assert!(found.expect("the store answers").is_none());
    assert_eq!(wish(&subject, &subject.ada(), "r", "why not").await, None);
    let page = list(&subject, &subject.ada(), &RunFilter::default(), &PageRequest::default()).await;
    assert!(page.items.is_empty() && page.next.is_none());
}

/// The summary is changed in the same write as the log.
pub async fn summarises_a_run_as_it_goes(subject: Subject) {
    let ada = subject.ada();
    let created_at = subject.now();
    subject.submit(&ada, "t", "r").await;
    let queued = subject.record(&ada, "r").await;
    assert_eq!((queued.status, queued.started_at, queued.events), (RunStatus::Queued, None, 0));
    subject.pass(2);
    let (mut writer, _) = subject.claim_one("w").await;
    let started = subject.event(EventType::AgentStarted, &json!({}));
    writer.write(vec![started], Some(RunChange::Running)).await.expect("the run starts");
    let started_at = Some(subject.now());
    let running = subject.record(&ada, "r").await;
    assert_eq!((running.status, running.started_at, running.events), (RunStatus::Running, started_at, 1));
    subject.pass(3);
    writer.end().await;
    let ended = subject.record(&ada, "r").await;
    assert_eq!((ended.status, ended.events), (RunStatus::Completed, 2));
    assert_eq!((ended.created_at, ended.started_at, ended.ended_at), (created_at, started_at, Some(subject.now())));
    assert_eq!((ended.input.get(), ended.result.as_ref().map(|r| r.get())), (r#"{"question":1}"#, Some("\"done\"")));
}

/// A run started once: going on after a pause does not move its start.
pub async fn keeps_the_first_start(subject: Subject) {
    let ada = subject.ada();
    let started_at = Some(subject.now());
    let mut writer = subject.start(&ada, "t", "r").await;
    assert_eq!(subject.record(&ada, "r").await.started_at, started_at);
    writer.park(Some(subject.now())).await;
    subject.pass(9);
    let (mut writer, _) = subject.claim_one("w").await;
    writer.write(Vec::new(), Some(RunChange::Running)).await.expect("the run goes on");
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.started_at), (RunStatus::Running, started_at));
}

/// A failed run says how.
pub async fn keeps_the_reason_of_a_failure(subject: Subject) {
    for reason in FailReason::ALL {
        let id = format!("r-{}", reason.as_str());
        let mut writer = subject.start(&subject.ada(), "t", &id).await;
        let failure = Failure { reason, message: "in words".to_owned() };
        let last = subject.event(EventType::AgentFailed, &json!(failure));
        writer.write(vec![last], Some(RunChange::Failed(failure.clone()))).await.expect("the run fails");
        let record = subject.record(&subject.ada(), &id).await;
        assert_eq!((record.status, record.failure), (RunStatus::Failed, Some(failure)));
    }
}

/// A wish is seen at once, and a second one does not replace it.
pub async fn keeps_the_first_wish_to_stop(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await;
    assert_eq!(wish(&subject, &ada, "r", "first").await, Some(CancelRequest::Recorded));
    assert_eq!(wish(&subject, &ada, "r", "second").await, Some(CancelRequest::Recorded));
    let record = subject.record(&ada, "r").await;
    assert_eq!((record.status, record.cancel), (RunStatus::Running, Some(stop("first"))));
}

/// A wish that comes too late is told so, and changes nothing.
pub async fn answers_a_late_wish_with_the_end(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await.end().await;
    let ended = Some(CancelRequest::Ended(RunStatus::Completed));
    assert_eq!(wish(&subject, &ada, "r", "late").await, ended);
    assert_eq!(subject.record(&ada, "r").await.cancel, None);
}

/// Runs are listed newest first, submitted and created alike.
pub async fn lists_runs_newest_first(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "one").await;
    subject.pass(1);
    subject.submit(&ada, "u", "two").await;
    subject.pass(1);
    subject.start(&ada, "t", "three").await.end().await;
    let page = list(&subject, &ada, &RunFilter::default(), &PageRequest::default()).await;
    assert_eq!(names(&page), ["three", "two", "one"]);
    assert_eq!(page.next, None);
}

/// Pages of any size show each run once, and runs that come meanwhile do not disturb them.
pub async fn pages_through_runs_without_loss(subject: Subject) {
    let ada = subject.ada();
    for n in 0..10 {
        subject.start(&ada, "t", &format!("r{n}")).await;
    }
    let expected: Vec<_> = (0..10).rev().map(|n| format!("r{n}")).collect();
    for limit in [1, 3, 5, 10, 11] {
        let (mut seen, mut request) = (Vec::new(), PageRequest { cursor: None, limit });
        for page_number in 0.. {
            let page = list(&subject, &ada, &RunFilter::default(), &request).await;
            assert!(page.items.len() <= limit, "a page of {} where {limit} were wanted", page.items.len());
            seen.extend(names(&page).into_iter().filter(|name| name.starts_with('r')).map(str::to_owned));
            subject.start(&ada, "t", &format!("new-{limit}-{page_number}")).await;
            let Some(next) = page.next else { break };
            request.cursor = Some(next);
        }
        assert_eq!(seen, expected, "pages of {limit}");
    }
}

/// A cursor that is none is the caller's mistake, and said so.
pub async fn refuses_a_cursor_that_is_none(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    let page = PageRequest { cursor: Some("not a cursor".to_owned()), limit: 9 };
    let runs = subject.backend.runs.runs(&subject.ada(), &RunFilter::default(), &page).await;
    assert!(matches!(runs, Err(Error::InvalidCursor { .. })), "{runs:?}");
    let threads = subject.backend.runs.threads(&subject.ada(), &page).await;
    assert!(matches!(threads, Err(Error::InvalidCursor { .. })), "{threads:?}");
}

/// Filters by thread, status, agent and parent, alone and together.
pub async fn lists_what_a_filter_lets_through(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "t-running").await;
    subject.start(&ada, "t", "t-ended").await.end().await;
    subject.start(&ada, "u", "u-ended").await.end().await;
    subject.start_child(&ada, "u", "child", "t-ended").await;
    let (thread, status) = (Some(thread("t")), Some(RunStatus::Completed));
    let agent = |name: &str| Some(name.to_owned());
    let cases: [(RunFilter, &[&str]); 6] = [
        (RunFilter { thread: thread.clone(), ..RunFilter::default() }, &["t-ended", "t-running"]),
        (RunFilter { status, ..RunFilter::default() }, &["u-ended", "t-ended"]),
        (RunFilter { thread, status, agent: agent("echo"), parent: None }, &["t-ended"]),
        (RunFilter { parent: Some(run("t-ended")), ..RunFilter::default() }, &["child"]),
        (RunFilter { agent: agent("another"), ..RunFilter::default() }, &[]),
        (RunFilter { status: Some(RunStatus::Waiting), ..RunFilter::default() }, &[]),
    ];
    for (filter, expected) in cases {
        assert_eq!(names(&list(&subject, &ada, &filter, &PageRequest::default()).await), expected, "{filter:?}");
    }
}

/// Threads are listed newest first, with the head of their log, in pages.
pub async fn lists_threads_with_their_heads(subject: Subject) {
    let ada = subject.ada();
    let created_at = subject.now();
    subject.start(&ada, "one", "r1").await.say(&[1, 2]).await;
    subject.pass(1);
    subject.submit(&ada, "two", "r2").await;
    subject.start(&ada, "one", "r3").await;
    let first = PageRequest { cursor: None, limit: 1 };
    let newest = subject.backend.runs.threads(&ada, &first).await.expect("threads are listed");
    assert_eq!((newest.items[0].thread_id.as_str(), newest.items[0].head), ("two", 0));
    let second = PageRequest { cursor: newest.next, limit: 1 };
    let oldest = subject.backend.runs.threads(&ada, &second).await.expect("threads are listed");
    let found = &oldest.items[0];
    assert_eq!((found.thread_id.as_str(), found.head, found.created_at), ("one", 4, created_at));
    assert_eq!(oldest.next, None);
}

async fn one(subject: &Subject, scope: &UserScope, id: &str) -> Option<ThreadRecord> {
    subject.backend.runs.thread(scope, &thread(id)).await.expect("the store answers")
}

async fn make(subject: &Subject, scope: &UserScope, id: &str) -> Result<ThreadRecord, Error> {
    subject.backend.runs.create_thread(scope, &thread(id), subject.now()).await
}

/// Another user's thread is as absent as one that never was.
pub async fn hides_a_thread_from_other_users(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        assert_eq!(one(&subject, &other, "t").await, None, "{other} read a thread");
    }
}

/// A name that another user's thread has is free.
pub async fn makes_a_thread_for_its_owner_only(subject: Subject) {
    make(&subject, &subject.ada(), "t").await.expect("a thread is made");
    for other in subject.others() {
        assert_eq!(
            make(&subject, &other, "t").await.map_err(|error| format!("{other}: {error}")).map(|it| it.head),
            Ok(0)
        );
    }
}

/// One thread is read as it stands in the list, its origin included.
pub async fn reads_one_thread_as_it_is_listed(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "one", "r1").await.say(&[1, 2]).await;
    subject.pass(1);
    subject.submit(&ada, "two", "r2").await;
    let fork = Fork { thread_id: thread("one"), seq: 2 };
    let forked = subject.backend.runs.fork_thread(&ada, &fork, &thread("fork"), subject.now()).await;
    assert!(forked.expect("the store answers").is_some());
    let listed = subject.backend.runs.threads(&ada, &PageRequest::default()).await.expect("threads are listed").items;
    assert_eq!(listed.len(), 3);
    for record in listed {
        assert_eq!(one(&subject, &ada, record.thread_id.as_str()).await, Some(record));
    }
    assert_eq!(one(&subject, &ada, "absent").await, None);
}

/// A thread may be made before its first run. It has an empty log, takes its place in the list, and a name is made once.
pub async fn makes_a_thread_without_runs(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "older", "r0").await;
    let made = make(&subject, &ada, "t").await.expect("a thread is made");
    let (thread_id, created_at) = (thread("t"), subject.now());
    assert_eq!(made, ThreadRecord { thread_id, created_at, head: 0, forked_from: None });
    assert_eq!(one(&subject, &ada, "t").await, Some(made.clone()));
    let page = subject.backend.log.thread_events(&ada, &thread("t"), 0, 9).await.expect("the log answers");
    assert!(page.is_some_and(|page| page.events.is_empty()));
    subject.pass(1);
    for taken in ["t", "older"] {
        let refused = make(&subject, &ada, taken).await;
        assert!(matches!(&refused, Err(Error::ThreadExists { thread }) if thread.as_str() == taken), "{refused:?}");
    }
    subject.start(&ada, "younger", "r1").await;
    subject.start(&ada, "t", "r2").await.end().await;
    let listed = subject.backend.runs.threads(&ada, &PageRequest::default()).await.expect("threads are listed").items;
    let listed: Vec<_> = listed.iter().map(|it| (it.thread_id.as_str(), it.head, it.created_at)).collect();
    assert_eq!(listed[..2], [("younger", 1, subject.now()), ("t", 2, made.created_at)]);
    let deleted = subject.backend.runs.delete_thread(&ada, &thread("t")).await.expect("the store answers");
    assert_eq!((deleted.map(|deleted| deleted.runs), one(&subject, &ada, "t").await), (Some(1), None));
    make(&subject, &ada, "t").await.expect("the name is free again");
}
