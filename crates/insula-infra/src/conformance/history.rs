//! Rules of what is kept and what goes: recorded facts, forks, deletion, retention.

use insula_context::UserScope;
use serde_json::json;

use super::{
    Subject,
    story::{raw, run, said, seqs, stop},
    subject::thread,
};
use crate::{
    Deleted, Error, EventPage, EventType, Fork, PageRequest, Payload, RunFilter, StateKey, StateSpace, Submitted,
    ThreadPolicy, ThreadRecord,
};

async fn fork(
    subject: &Subject,
    scope: &UserScope,
    (from, seq): (&str, u64),
    into: &str,
) -> Result<Option<ThreadRecord>, Error> {
    let fork = Fork { thread_id: thread(from), seq };
    subject.backend.runs.fork_thread(scope, &fork, &thread(into), subject.now()).await
}

async fn forked(subject: &Subject, scope: &UserScope, from: (&str, u64), into: &str) -> ThreadRecord {
    fork(subject, scope, from, into).await.expect("the store answers").expect("the thread is there")
}

async fn page(subject: &Subject, scope: &UserScope, id: &str, after: u64, limit: usize) -> EventPage {
    let page = subject.backend.log.thread_events(scope, &thread(id), after, limit).await;
    page.expect("the log answers").expect("the thread is there")
}

async fn delete(subject: &Subject, scope: &UserScope, id: &str) -> Result<Option<Deleted>, Error> {
    subject.backend.runs.delete_thread(scope, &thread(id)).await
}

async fn is_there(subject: &Subject, scope: &UserScope, id: &str) -> bool {
    subject.backend.runs.run(scope, &run(id)).await.expect("the store answers").is_some()
}

async fn thread_names(subject: &Subject, scope: &UserScope) -> Vec<String> {
    let page = subject.backend.runs.threads(scope, &PageRequest::default()).await.expect("threads are listed");
    page.items.iter().map(|thread| thread.thread_id.to_string()).collect()
}

async fn forget(subject: &Subject, max: usize) -> usize {
    subject.backend.queue.forget_before(subject.now(), max).await.expect("the store answers")
}

/// A run's recorded facts are those of its owner.
pub async fn hides_what_was_recorded_from_other_users(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let found = subject.backend.queue.recorded(&other, &run("r")).await.expect("the store answers");
        assert!(found.is_none(), "{other} read what was recorded");
    }
}

/// Nobody forks another user's thread, nor learns that there is one.
pub async fn forks_a_thread_of_its_owner_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        let found = fork(&subject, &other, ("t", 1), "mine").await.expect("the store answers");
        assert!(found.is_none(), "{other} forked a thread");
        assert!(subject.events(&other, "mine").await.is_empty());
    }
}

/// Nobody deletes another user's thread.
pub async fn deletes_a_thread_of_its_owner_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await.end().await;
    for other in subject.others() {
        let found = delete(&subject, &other, "t").await.expect("the store answers");
        assert_eq!(found, None, "{other} deleted a thread");
    }
    assert!(is_there(&subject, &subject.ada(), "r").await);
}

/// Deleting a user deletes nothing of another.
pub async fn deletes_everything_of_one_user_only(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await.end().await;
    for other in subject.others() {
        let deleted = subject.backend.runs.delete_user(&other).await.expect("the store answers");
        assert_eq!(deleted, Deleted::default(), "{other} had nothing");
    }
    assert!(is_there(&subject, &subject.ada(), "r").await);
    assert_eq!(subject.events(&subject.ada(), "t").await.len(), 2);
}

/// What was recorded can be read without a lease, also of an ended run, with what readers do not see.
pub async fn reads_what_was_recorded(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    subject.start(&ada, "t", "between").await.say(&[9]).await;
    let mut event = subject.event(EventType::StepCompleted, &json!("seen"));
    event.journal = Some(raw(&json!("unseen")));
    writer.write(vec![event], None).await.expect("an event is written");
    writer.end().await;
    let recorded = subject.backend.queue.recorded(&ada, &run("r")).await.expect("the store answers");
    let recorded = recorded.expect("the run is there");
    let kinds: Vec<_> = recorded.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [EventType::AgentStarted, EventType::StepCompleted, EventType::AgentCompleted]);
    let step = &recorded[1];
    assert_eq!((step.data.get(), step.journal.as_ref().map(|j| j.get())), ("\"seen\"", Some("\"unseen\"")));
    let absent = subject.backend.queue.recorded(&ada, &run("absent")).await.expect("the store answers");
    assert!(absent.is_none());
    subject.submit(&ada, "t", "queued").await;
    let nothing = subject.backend.queue.recorded(&ada, &run("queued")).await.expect("the store answers");
    assert!(nothing.expect("the run is there").is_empty());
}

/// A fork begins with the other's events, its own follow on, and neither sees what the other does from there.
pub async fn reads_a_fork_from_the_beginning(subject: Subject) {
    let ada = subject.ada();
    let mut first = subject.start(&ada, "t", "first").await;
    first.say(&[1, 2, 3]).await;
    let made = forked(&subject, &ada, ("t", 3), "fork").await;
    let expected = Some(Fork { thread_id: thread("t"), seq: 3 });
    assert_eq!((made.thread_id.as_str(), made.head, made.forked_from), ("fork", 3, expected));
    assert_eq!(said(&subject.events(&ada, "fork").await), [1, 2]);
    first.say(&[4]).await;
    let mut second = subject.start(&ada, "fork", "second").await;
    assert_eq!(second.say(&[10, 11]).await.head, 6);
    let (events, originals) = (subject.events(&ada, "fork").await, subject.events(&ada, "t").await);
    assert_eq!((said(&events), seqs(&events)), (vec![1, 2, 10, 11], (1..=6).collect()));
    assert_eq!((said(&originals), seqs(&originals)), (vec![1, 2, 3, 4], (1..=5).collect()));
    assert_eq!((events[0].header.run.as_str(), events[5].header.run.as_str()), ("first", "second"));
}

/// A reader of a fork goes on where it stopped, in pages of any size, over the place where it branches off.
pub async fn reads_a_fork_on_from_a_cursor(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "first").await.say(&(1..8).collect::<Vec<_>>()).await;
    forked(&subject, &ada, ("t", 5), "fork").await;
    subject.start(&ada, "fork", "second").await.say(&[20, 21, 22]).await;
    for limit in [1, 2, 5, 99] {
        let (mut cursor, mut seen) = (0, Vec::new());
        loop {
            let page = page(&subject, &ada, "fork", cursor, limit).await;
            assert_eq!((page.oldest, page.head), (1, 9));
            assert!(page.events.len() <= limit, "a page of {} where {limit} were wanted", page.events.len());
            let Some(last) = page.events.last() else { break };
            cursor = last.seq;
            seen.extend(page.events);
        }
        assert_eq!((seqs(&seen), said(&seen)), ((1..=9).collect(), vec![1, 2, 3, 4, 20, 21, 22]), "pages of {limit}");
    }
}

/// A fork of a fork begins with the events of both, wherever it branches off.
pub async fn forks_a_fork(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "a", "ra").await.say(&[1, 2, 3]).await;
    forked(&subject, &ada, ("a", 3), "b").await;
    subject.start(&ada, "b", "rb").await.say(&[10, 11]).await;
    forked(&subject, &ada, ("b", 5), "late").await;
    forked(&subject, &ada, ("b", 2), "early").await;
    forked(&subject, &ada, ("b", 3), "between").await;
    forked(&subject, &ada, ("a", 0), "empty").await;
    for (id, expected) in [("late", vec![1, 2, 10]), ("early", vec![1]), ("between", vec![1, 2]), ("empty", vec![])] {
        let head = page(&subject, &ada, id, 0, 99).await.head;
        subject.start(&ada, id, &format!("r-{id}")).await.say(&[99]).await;
        let events = subject.events(&ada, id).await;
        assert_eq!(seqs(&events), (1..=head + 2).collect::<Vec<_>>(), "{id}");
        assert_eq!(said(&events), [expected, vec![99]].concat(), "{id}");
    }
}

/// A run in a fork is read by itself, with the numbers and the head of the fork.
pub async fn reads_one_run_of_a_fork(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "first").await.say(&[1, 2]).await;
    forked(&subject, &ada, ("t", 3), "fork").await;
    subject.start(&ada, "fork", "second").await.say(&[5]).await;
    let page = subject
        .backend
        .log
        .run_events(&ada, &run("second"), 0, 99)
        .await
        .expect("the log answers")
        .expect("it is there");
    assert_eq!((seqs(&page.events), page.oldest, page.head), (vec![4, 5], 1, 5));
    let page = subject
        .backend
        .log
        .run_events(&ada, &run("first"), 0, 99)
        .await
        .expect("the log answers")
        .expect("it is there");
    assert_eq!((seqs(&page.events), page.head), (vec![1, 2, 3], 3));
}

/// Forks are listed with where they come from; a name that is taken, and more events than there are, are refused.
pub async fn lists_forks_and_refuses_what_cannot_be(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await.say(&[1]).await;
    let taken = fork(&subject, &ada, ("t", 1), "t").await;
    assert!(matches!(&taken, Err(Error::ThreadExists { thread: id }) if *id == thread("t")), "{taken:?}");
    for from in [("t", 3), ("absent", 0), ("absent", 1)] {
        let found = fork(&subject, &ada, from, "fork").await.expect("the store answers");
        assert!(found.is_none(), "{from:?}");
    }
    subject.pass(1);
    let made = forked(&subject, &ada, ("t", 2), "fork").await;
    let again = fork(&subject, &ada, ("t", 1), "fork").await;
    assert!(matches!(again, Err(Error::ThreadExists { .. })), "{again:?}");
    let listed = subject.backend.runs.threads(&ada, &PageRequest::default()).await.expect("threads are listed").items;
    assert_eq!((&listed[0], listed[0].created_at), (&made, subject.now()));
    assert_eq!((listed[1].thread_id.as_str(), &listed[1].forked_from), ("t", &None));
    assert_eq!(listed.len(), 2);
}

/// A deleted thread is gone with all that is in it, and its names are free again.
pub async fn deletes_a_thread_with_all_that_is_in_it(subject: Subject) {
    let ada = subject.ada();
    let (payload, shared) = (Payload::new(vec![1; 20_000]), Payload::new(vec![2; 20_000]));
    let new = subject.in_turn(&ada, "t", "r", ThreadPolicy::Reject);
    subject.backend.queue.submit(new, Some("k")).await.expect("it is submitted");
    let (mut writer, _) = subject.claim_one("w").await;
    writer.attach(payload.clone()).await;
    writer.attach(shared.clone()).await;
    writer.end().await;
    let mut other = subject.start(&ada, "kept", "other").await;
    other.attach(shared.clone()).await;
    let key = |space| StateKey { space, name: "n".to_owned() };
    let keys = [key(StateSpace::Thread(thread("t"))), key(StateSpace::Run(run("r"))), key(StateSpace::User)];
    for key in &keys {
        subject.backend.state.put(&ada, key, raw(&json!(1))).await.expect("a value is kept");
    }
    let deleted = delete(&subject, &ada, "t").await.expect("it is deleted");
    assert_eq!(deleted, Some(Deleted { threads: 1, runs: 1 }));
    assert_eq!((thread_names(&subject, &ada).await, is_there(&subject, &ada, "r").await), (vec!["kept".into()], false));
    assert!(subject.backend.log.thread_events(&ada, &thread("t"), 0, 9).await.expect("the log answers").is_none());
    for (payload, kept) in [(payload, false), (shared, true)] {
        let found = subject.backend.log.payload(&ada, &payload.hash()).await.expect("the log answers");
        assert_eq!(found.is_some(), kept);
    }
    for (key, kept) in keys.iter().zip([false, false, true]) {
        assert_eq!(subject.backend.state.get(&ada, key).await.expect("the store answers").is_some(), kept, "{key:?}");
    }
    assert_eq!(delete(&subject, &ada, "t").await.expect("the store answers"), None);
    let new = subject.in_turn(&ada, "t", "r", ThreadPolicy::Reject);
    let again = subject.backend.queue.submit(new, Some("k")).await;
    assert!(matches!(again, Ok(Submitted::New)), "{again:?}");
    assert!(subject.events(&ada, "t").await.is_empty());
}

/// A thread is not deleted while a run of it has not ended, or while another begins with its log.
pub async fn refuses_to_delete_what_is_in_use(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    let busy = delete(&subject, &ada, "t").await;
    assert!(matches!(&busy, Err(Error::ThreadBusy { run: id, .. }) if *id == run("r")), "{busy:?}");
    writer.end().await;
    forked(&subject, &ada, ("t", 1), "fork").await;
    let in_use = delete(&subject, &ada, "t").await;
    let expected = (thread("t"), thread("fork"));
    assert!(
        matches!(&in_use, Err(Error::ThreadForked { thread, fork }) if (thread, fork) == (&expected.0, &expected.1))
    );
    assert_eq!(subject.events(&ada, "fork").await.len(), 1);
    assert_eq!(delete(&subject, &ada, "fork").await.expect("it goes"), Some(Deleted { threads: 1, runs: 0 }));
    assert_eq!(delete(&subject, &ada, "t").await.expect("it goes"), Some(Deleted { threads: 1, runs: 1 }));
    assert!(thread_names(&subject, &ada).await.is_empty());
}

/// A deleted user has nothing left, and those who worked for the user are refused.
pub async fn deletes_everything_of_a_user(subject: Subject) {
    let ada = subject.ada();
    let mut held = subject.start(&ada, "t", "held").await;
    subject.start(&ada, "t", "parked").await.ask(1, None, super::story::parked(Some(subject.now()))).await;
    subject.start(&ada, "u", "ended").await.end().await;
    subject.line_up(&ada, "t", "queued").await;
    subject.line_up(&ada, "t", "blocked").await;
    forked(&subject, &ada, ("t", 1), "fork").await;
    let key = StateKey { space: StateSpace::User, name: "n".to_owned() };
    subject.backend.state.put(&ada, &key, raw(&json!(1))).await.expect("a value is kept");
    let (name, spec) = ("s".to_owned(), raw(&json!({})));
    let record = crate::ScheduleRecord { name, spec, created_at: subject.now(), next_at: Some(subject.now()) };
    subject.backend.schedules.put_schedule(&ada, record).await.expect("a schedule is kept");
    let deleted = subject.backend.runs.delete_user(&ada).await.expect("the store answers");
    assert_eq!(deleted, Deleted { threads: 3, runs: 5 });
    let refused = held.try_say(&[1]).await;
    assert!(matches!(refused, Err(Error::StaleLease { .. })), "{refused:?}");
    subject.pass(1_000);
    assert!(subject.claim("w", 9).await.is_empty(), "a deleted run was handed out");
    assert!(thread_names(&subject, &ada).await.is_empty());
    let runs = subject
        .backend
        .runs
        .runs(&ada, &RunFilter::default(), &PageRequest::default())
        .await
        .expect("the store answers");
    let questions =
        subject.backend.inbox.questions(&ada, None, &PageRequest::default()).await.expect("the store answers");
    let schedules = subject.backend.schedules.schedules(&ada).await.expect("the store answers");
    assert_eq!((runs.items.len(), questions.items.len(), schedules.len()), (0, 0, 0));
    assert!(subject.backend.queue.due_schedules(9).await.expect("the store answers").0.is_empty());
    assert!(subject.backend.state.get(&ada, &key).await.expect("the store answers").is_none());
    subject.line_up(&ada, "t", "held").await;
    assert_eq!(subject.claim_names("w", 9).await, ["held"], "the user may come back");
}

/// Deleting a user gives back what the user's runs had reserved, and closes the user's account.
pub async fn deletes_the_account_of_a_user(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    subject.start(&ada, "t", "r").await;
    let ceiling = crate::Ceiling { tokens: Some(10), ..Default::default() };
    let allowances = [crate::Holder::User, crate::Holder::Tenant].map(|holder| crate::Allowance {
        holder,
        ceiling,
        window: std::time::Duration::from_secs(600),
    });
    let amounts = crate::Amounts { tokens: 10, ..Default::default() };
    let reservation = crate::Reservation { run: run("r"), index: 1, amounts, allowances: allowances.to_vec() };
    let reserved = subject.backend.budgets.reserve(&ada, reservation).await.expect("the accounts answer");
    assert_eq!(reserved, crate::Reserved::Granted);
    subject.backend.runs.delete_user(&ada).await.expect("the store answers");
    let hers = subject.backend.budgets.balance(&ada, crate::Holder::User).await.expect("the accounts answer");
    assert_eq!(hers, crate::Balance::default());
    let shared = subject.backend.budgets.balance(&bob, crate::Holder::Tenant).await.expect("the accounts answer");
    assert!(shared.reserved.is_zero(), "{shared:?}");
}

/// Threads whose last run ended long ago go, of all users; open ones, younger ones and forked ones stay.
pub async fn forgets_threads_that_ended_long_ago(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    for owner in [&ada, &bob] {
        subject.start(owner, "old", "r-old").await.end().await;
    }
    subject.start(&ada, "open", "r-ended").await.end().await;
    subject.start(&ada, "open", "r-open").await.park(None).await;
    subject.start(&ada, "forked", "r-forked").await.end().await;
    forked(&subject, &ada, ("forked", 1), "fork").await;
    subject.start(&ada, "fork", "r-fork").await.park(None).await;
    subject.start(&ada, "young", "r-first").await.end().await;
    assert_eq!(forget(&subject, 99).await, 0, "what ended at that very time stays");
    subject.pass(10);
    subject.start(&ada, "young", "r-last").await.end().await;
    assert_eq!(forget(&subject, 1).await, 1, "no more than was asked for");
    assert_eq!((forget(&subject, 99).await, forget(&subject, 99).await), (1, 0));
    let mut left = thread_names(&subject, &ada).await;
    left.sort_unstable();
    assert_eq!(left, ["fork", "forked", "open", "young"]);
    assert!(thread_names(&subject, &bob).await.is_empty() && !is_there(&subject, &bob, "r-old").await);
    subject.backend.runs.request_cancel(&ada, &run("r-open"), stop("enough")).await.expect("the store answers");
    let (mut writer, _) = subject.claim_one("w").await;
    writer.obey(stop("enough")).await;
    subject.pass(1);
    assert_eq!(forget(&subject, 99).await, 2, "the open one has ended, and the young one is young no more");
}
