//! Rules of calls: due with the end of their run, given to one at a time, and made at least once.

use std::{sync::Arc, time::Duration};

use insula_context::UserScope;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Subject,
    story::{LEASE, Writer, completed, raw, run, stop},
    subject::thread,
};
use crate::{
    Append, Attempt, Error, EventType, FailReason, Failure, NewRun, PageRequest, RunChange, RunHeader, WebhookRecord,
    WebhookState,
};

/// How long who takes a call may keep it, in seconds.
const HOLD: u64 = 20;

/// Creates a run with a call.
pub(super) async fn start(subject: &Subject, scope: &UserScope, in_thread: &str, id: &str) -> Writer {
    let append = creation(subject, scope, in_thread, id);
    let writer = subject.writer(append.lease.clone(), 1);
    subject.backend.queue.append(append).await.expect("a run is created");
    writer
}

fn creation(subject: &Subject, scope: &UserScope, in_thread: &str, id: &str) -> Append {
    let mut append = subject.creation(scope, in_thread, id);
    append.create.as_mut().expect("a creation").0.webhook = Some(raw(&json!({"url": id})));
    append
}

/// Puts a run with a call into the queue.
async fn submit(subject: &Subject, scope: &UserScope, in_thread: &str, id: &str) {
    let new = subject.new_run(subject.header(scope, in_thread, id));
    let new = NewRun { webhook: Some(raw(&json!({"url": id}))), ..new };
    subject.backend.queue.submit(new, None).await.expect("a run is submitted");
}

async fn due(subject: &Subject, max: usize) -> Vec<WebhookRecord> {
    subject.backend.webhooks.due_webhooks(Duration::from_secs(HOLD), max).await.expect("the store answers")
}

/// The runs whose calls are due, in order.
async fn due_names(subject: &Subject) -> Vec<String> {
    due(subject, 99).await.iter().map(|call| call.header.run.to_string()).collect()
}

async fn settle(subject: &Subject, scope: &UserScope, id: &str, attempt: Attempt) {
    subject.backend.webhooks.settle_webhook(scope, &run(id), attempt).await.expect("an attempt is settled");
}

async fn resend(subject: &Subject, scope: &UserScope, id: &str) -> Option<WebhookRecord> {
    subject.backend.webhooks.resend_webhook(scope, &run(id)).await.expect("the store answers")
}

async fn list(subject: &Subject, scope: &UserScope, state: Option<WebhookState>) -> Vec<WebhookRecord> {
    let page = PageRequest { cursor: None, limit: 99 };
    subject.backend.webhooks.webhooks(scope, state, &page).await.expect("calls are listed").items
}

/// The only call that there is of this user.
async fn one(subject: &Subject, scope: &UserScope) -> WebhookRecord {
    let mut calls = list(subject, scope, None).await;
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

fn again(subject: &Subject, seconds: u64) -> Attempt {
    Attempt::Again { at: subject.now().plus(Duration::from_secs(seconds)), error: "refused".to_owned() }
}

fn dead() -> Attempt {
    Attempt::Dead { error: "gone".to_owned() }
}

/// A list has the asker's calls only.
pub async fn hides_calls_from_other_users(subject: Subject) {
    start(&subject, &subject.ada(), "t", "waits").await;
    start(&subject, &subject.ada(), "t", "ended").await.end().await;
    for other in subject.others() {
        for state in WebhookState::ALL.into_iter().map(Some).chain([None]) {
            let found = list(&subject, &other, state).await;
            assert!(found.is_empty(), "{other} was listed {found:?}");
        }
    }
}

/// Nobody says what came of another user's call.
pub async fn settles_the_call_of_its_owner_only(subject: Subject) {
    start(&subject, &subject.ada(), "t", "r").await.end().await;
    for other in subject.others() {
        settle(&subject, &other, "r", Attempt::Delivered).await;
        subject.start(&other, "t", "r").await.end().await;
        settle(&subject, &other, "r", dead()).await;
    }
    let call = one(&subject, &subject.ada()).await;
    assert_eq!((call.state, call.attempts), (WebhookState::Due, 0));
}

/// Nobody has another user's call made again, nor learns that there is one.
pub async fn resends_the_call_of_its_owner_only(subject: Subject) {
    start(&subject, &subject.ada(), "t", "r").await.end().await;
    settle(&subject, &subject.ada(), "r", Attempt::Delivered).await;
    for other in subject.others() {
        assert!(resend(&subject, &other, "r").await.is_none(), "{other} had a call made");
    }
    assert!(due(&subject, 9).await.is_empty());
    assert_eq!(one(&subject, &subject.ada()).await.state, WebhookState::Delivered);
}

/// A call waits until its run has ended, however that is, and is due in the same write. It says whose it is.
pub async fn a_call_is_due_with_the_end_of_its_run(subject: Subject) {
    let ada = subject.ada();
    let ends: [(&str, EventType, RunChange); 3] = [
        ("completed", EventType::AgentCompleted, completed().expect("an end")),
        (
            "failed",
            EventType::AgentFailed,
            RunChange::Failed(Failure { reason: FailReason::Error, message: "no".to_owned() }),
        ),
        ("cancelled", EventType::AgentCancelled, RunChange::Cancelled(stop("enough"))),
    ];
    for (id, event, change) in ends {
        submit(&subject, &ada, "t", id).await;
        let (mut writer, _) = subject.claim_one("w").await;
        writer.say(&[1]).await;
        let waits = &list(&subject, &ada, Some(WebhookState::Waiting)).await[0];
        assert_eq!((waits.header.run.as_str(), waits.attempts, waits.next_at, waits.ended_at), (id, 0, None, None));
        assert!(due(&subject, 9).await.is_empty(), "{id} has not ended");
        subject.pass(1);
        writer.write(vec![subject.event(event, &json!({}))], Some(change)).await.expect("the run ends");
        let found = due(&subject, 9).await;
        assert_eq!(found.len(), 1, "{id}");
        let (call, record) = (&found[0], subject.record(&ada, id).await);
        assert_eq!((&call.header, call.state, call.attempts), (&record.header, WebhookState::Due, 0));
        assert_eq!((call.target.get(), &call.last_error), (format!("{{\"url\":\"{id}\"}}").as_str(), &None));
        assert_eq!((call.ended_at, record.ended_at), (Some(subject.now()), Some(subject.now())));
    }
}

/// The end of a run that never began is an end.
pub async fn a_call_is_due_when_its_run_is_stopped_before_it_begins(subject: Subject) {
    let ada = subject.ada();
    submit(&subject, &ada, "t", "r").await;
    subject.backend.runs.request_cancel(&ada, &run("r"), stop("enough")).await.expect("a wish");
    assert!(due(&subject, 9).await.is_empty());
    subject.claim_one("w").await.0.obey(stop("enough")).await;
    assert_eq!(due_names(&subject).await, ["r"]);
}

/// A run that is created and ends in one write has its call made.
pub async fn a_call_is_due_when_its_run_ends_in_its_first_write(subject: Subject) {
    let ada = subject.ada();
    let mut append = creation(&subject, &ada, "t", "r");
    append.events.push(subject.event(EventType::AgentCompleted, &json!("done")));
    append.change = completed();
    subject.backend.queue.append(append).await.expect("a run is created and ends");
    assert_eq!(due_names(&subject).await, ["r"]);
}

/// An end that is refused is none.
pub async fn a_refused_end_makes_no_call_due(subject: Subject) {
    let ada = subject.ada();
    submit(&subject, &ada, "t", "r").await;
    let (mut stale, _) = subject.claim_one("lost").await;
    subject.pass(LEASE + 1);
    let (mut holder, _) = subject.claim_one("w").await;
    let last = subject.event(EventType::AgentCompleted, &json!("done"));
    let refused = stale.write(vec![last], completed()).await;
    assert!(matches!(refused, Err(Error::StaleLease { .. })), "{refused:?}");
    assert!(due(&subject, 9).await.is_empty());
    holder.end().await;
    assert_eq!(due_names(&subject).await, ["r"]);
}

/// Nobody is told of the end of a child but its parent, whatever was asked.
pub async fn a_child_has_no_call(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "parent").await;
    let mut append = creation(&subject, &ada, "t", "child");
    let header = RunHeader { parent: Some(run("parent")), ..(*append.lease.header).clone() };
    append.lease.header = Arc::new(header);
    append.create.as_mut().expect("a creation").0.header = Arc::clone(&append.lease.header);
    let mut child = subject.writer(append.lease.clone(), 1);
    subject.backend.queue.append(append).await.expect("a child is created");
    child.end().await;
    let header = Arc::new(RunHeader { parent: Some(run("parent")), ..(*subject.header(&ada, "t", "later")).clone() });
    let new = NewRun { webhook: Some(raw(&json!({}))), ..subject.new_run(header) };
    subject.backend.queue.submit(new, None).await.expect("a child is submitted");
    assert!(list(&subject, &ada, None).await.is_empty() && due(&subject, 9).await.is_empty());
}

/// Who takes a call has it for a while, and no longer: a process that is lost takes no call with it.
pub async fn gives_a_call_to_one_until_its_time_is_over(subject: Subject) {
    for (owner, id) in [(subject.ada(), "r1"), (subject.user("bob"), "r2")] {
        start(&subject, &owner, "t", id).await.end().await;
        subject.pass(1);
    }
    assert_eq!(due(&subject, 1).await[0].header.run.as_str(), "r1", "first come, first served");
    assert_eq!(due_names(&subject).await, ["r2"], "the other is given already");
    let held = one(&subject, &subject.ada()).await;
    let until = subject.now().plus(Duration::from_secs(HOLD));
    assert_eq!((held.state, held.attempts, held.next_at), (WebhookState::Due, 0, Some(until)));
    subject.pass(HOLD - 1);
    assert!(due_names(&subject).await.is_empty());
    subject.pass(1);
    assert_eq!(due_names(&subject).await, ["r1", "r2"]);
}

/// Of many who ask at once, each call is given to one.
pub async fn gives_a_call_once_under_concurrency(subject: Subject) {
    for n in 0..12 {
        start(&subject, &subject.ada(), "t", &format!("r{n}")).await.end().await;
    }
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let subject = subject.clone();
        tasks.spawn(async move { due(&subject, 3).await });
    }
    let given = tasks.join_all().await.into_iter().flatten();
    let mut given: Vec<_> = given.map(|call| call.header.run.to_string()).chain(due_names(&subject).await).collect();
    given.sort_unstable();
    let mut expected: Vec<_> = (0..12).map(|n| format!("r{n}")).collect();
    expected.sort_unstable();
    assert_eq!(given, expected);
}

/// A call that was not taken is made again when it was said, also before the time of who had it is over.
pub async fn tries_again_at_the_time_that_was_said(subject: Subject) {
    let ada = subject.ada();
    start(&subject, &ada, "t", "r").await.end().await;
    for (attempts, seconds) in [(1, 5), (2, HOLD + 40)] {
        assert_eq!(due_names(&subject).await, ["r"]);
        settle(&subject, &ada, "r", again(&subject, seconds)).await;
        let call = one(&subject, &ada).await;
        assert_eq!(
            (call.state, call.attempts, call.last_error.as_deref()),
            (WebhookState::Due, attempts, Some("refused"))
        );
        assert_eq!(call.next_at, Some(subject.now().plus(Duration::from_secs(seconds))));
        subject.pass(seconds - 1);
        assert!(due_names(&subject).await.is_empty());
        subject.pass(1);
    }
    let given = &due(&subject, 9).await[0];
    assert_eq!((given.attempts, given.last_error.as_deref()), (2, Some("refused")));
}

/// A call that was taken or given up is not made again, and whoever comes late with another word changes nothing.
pub async fn makes_no_call_again_that_is_settled(subject: Subject) {
    let ada = subject.ada();
    for (id, attempt) in [("taken", Attempt::Delivered), ("dead", dead())] {
        start(&subject, &ada, "t", id).await.end().await;
        assert_eq!(due_names(&subject).await, [id]);
        settle(&subject, &ada, id, again(&subject, 0)).await;
        settle(&subject, &ada, id, attempt).await;
        settle(&subject, &ada, id, again(&subject, 0)).await;
    }
    start(&subject, &ada, "t", "waits").await;
    for (id, attempt) in [("waits", Attempt::Delivered), ("absent", Attempt::Delivered)] {
        settle(&subject, &ada, id, attempt).await;
    }
    subject.pass(1_000);
    assert!(due(&subject, 9).await.is_empty());
    let found = list(&subject, &ada, None).await;
    let found: Vec<_> =
        found.iter().map(|call| (call.state, call.attempts, call.last_error.as_deref(), call.next_at)).collect();
    let (dead, taken) = ((WebhookState::Dead, 2, Some("gone"), None), (WebhookState::Delivered, 2, None, None));
    assert_eq!(found, [(WebhookState::Waiting, 0, None, None), dead, taken]);
}

/// A call is made again when somebody asks for it, whatever became of it, as if it had never been tried.
pub async fn resends_what_was_given_up(subject: Subject) {
    let ada = subject.ada();
    start(&subject, &ada, "t", "waits").await;
    subject.start(&ada, "t", "without").await.end().await;
    for id in ["waits", "without", "absent"] {
        assert!(resend(&subject, &ada, id).await.is_none(), "{id}");
    }
    start(&subject, &ada, "u", "r").await.end().await;
    for attempt in [dead(), Attempt::Delivered, again(&subject, 1_000)] {
        assert_eq!(due_names(&subject).await, ["r"]);
        settle(&subject, &ada, "r", attempt).await;
        let call = resend(&subject, &ada, "r").await.expect("the call is there");
        assert_eq!((call.state, call.attempts, call.last_error), (WebhookState::Due, 0, None));
        assert_eq!((call.next_at, call.header.run.as_str()), (Some(subject.now()), "r"));
    }
    assert_eq!(due_names(&subject).await, ["r"]);
}

/// Calls are listed in the order of their runs, newest first, in pages, of one state or of all.
pub async fn lists_calls_newest_first(subject: Subject) {
    let ada = subject.ada();
    for id in ["r1", "r2", "r3", "r4", "r5"] {
        let mut writer = start(&subject, &ada, "t", id).await;
        if id != "r2" {
            writer.end().await;
        }
    }
    subject.start(&ada, "t", "without").await.end().await;
    settle(&subject, &ada, "r3", dead()).await;
    settle(&subject, &ada, "r4", Attempt::Delivered).await;
    let cases: [(Option<WebhookState>, &[&str]); 5] = [
        (None, &["r5", "r4", "r3", "r2", "r1"]),
        (Some(WebhookState::Waiting), &["r2"]),
        (Some(WebhookState::Due), &["r5", "r1"]),
        (Some(WebhookState::Delivered), &["r4"]),
        (Some(WebhookState::Dead), &["r3"]),
    ];
    for (state, expected) in cases {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = PageRequest { cursor, limit: 2 };
            let page = subject.backend.webhooks.webhooks(&ada, state, &page).await.expect("calls are listed");
            assert!(page.items.len() <= 2);
            found.extend(page.items.iter().map(|call| call.header.run.to_string()));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{state:?}");
    }
    let nonsense = PageRequest { cursor: Some("nonsense".to_owned()), limit: 1 };
    let refused = subject.backend.webhooks.webhooks(&ada, None, &nonsense).await;
    assert!(matches!(refused, Err(Error::InvalidCursor { .. })), "{refused:?}");
}

/// A call goes with its thread, deleted or forgotten, and with its user.
pub async fn calls_go_with_their_thread_or_user(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    for (owner, in_thread, id) in [(&ada, "deleted", "r1"), (&ada, "forgotten", "r2"), (&bob, "t", "r3")] {
        start(&subject, owner, in_thread, id).await.end().await;
    }
    start(&subject, &bob, "t", "open").await;
    subject.backend.runs.delete_thread(&ada, &thread("deleted")).await.expect("the store answers");
    assert_eq!(one(&subject, &ada).await.header.run.as_str(), "r2");
    settle(&subject, &ada, "r1", again(&subject, 0)).await;
    assert!(resend(&subject, &ada, "r1").await.is_none());
    subject.backend.runs.delete_user(&bob).await.expect("the store answers");
    assert!(list(&subject, &bob, None).await.is_empty());
    subject.pass(1);
    assert_eq!(subject.backend.queue.forget_before(subject.now(), 9).await.expect("the store answers"), 1);
    assert!(list(&subject, &ada, None).await.is_empty());
    assert!(due(&subject, 9).await.is_empty(), "somebody is told of what is gone");
    let counts = subject.backend.census.counts().await.expect("the store counts");
    assert_eq!(counts.webhooks_due, 0, "what is gone is counted");
    start(&subject, &ada, "deleted", "r1").await.end().await;
    assert_eq!(due_names(&subject).await, ["r1"], "the name may come back");
}
