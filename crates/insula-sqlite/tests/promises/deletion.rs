//! What is deleted is gone from every table, and what is not is as it was.

use std::{collections::BTreeMap, time::Duration};

use insula_context::Timestamp;
use insula_infra::{
    Allowance, Amounts, Append, Backend, Ceiling, Error, EventType, Fork, Holder, PageRequest, Payload, RateLimit,
    Reservation, RunChange, RunFilter, ScheduleRecord, StateKey, StateSpace, WaitFor,
};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::support::{
    at, create, event, extend, folder, header, new_run, notes, question, raw, run, scope, thread, whole,
};

/// How many rows each table has, but for the workers'.
fn rows(folder: &TempDir) -> BTreeMap<String, i64> {
    let connection = Connection::open(folder.path().join("insula.db")).expect("opens");
    let mut tables = connection
        .prepare(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%'",
        )
        .expect("lists");
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).expect("lists").map(|name| name.expect("a name")).collect();
    let count = |name: &String| connection.query_row(&format!("SELECT count(*) FROM \"{name}\""), [], |row| row.get(0));
    tables
        .into_iter()
        .filter(|name| name != "workers")
        .map(|name| (name.clone(), count(&name).expect("counts")))
        .collect()
}

fn payload(byte: u8) -> Payload {
    Payload::new(vec![byte; 20_000])
}

async fn put(backend: &Backend, user: &str, space: StateSpace) {
    let key = StateKey { space, name: "k".to_owned() };
    backend.state.put(&scope(user), &key, raw("1")).await.expect("puts");
}

/// A thread with everything that a thread can have: 70 events, questions, payloads of its own and shared ones, state,
/// and a call.
async fn full_thread(backend: &Backend, user: &str, name: &str) {
    let id = format!("run-of-{name}");
    let header = header(user, name, &id);
    let mut new = new_run(&header);
    new.payload = Some(payload(1));
    new.webhook = Some(raw("{}"));
    backend.queue.submit(new, Some(&format!("key-of-{name}"))).await.expect("submits");
    let claimed = backend.queue.claim(&"w".into_worker(), Duration::from_secs(30), 1, 9).await.expect("claims");
    assert_eq!(claimed.len(), 1);
    let payloads = vec![payload(2), payload(name.len() as u8 + 100)];
    let asks = vec![question(1), question(2), question(3)];
    let append = Append { payloads, asks, ..extend(&header, 0, notes(1, 70)) };
    backend.queue.append(append).await.expect("appends");
    put(backend, user, StateSpace::Run(run(&id))).await;
    put(backend, user, StateSpace::Thread(thread(name))).await;
    let answer = insula_infra::Answer { index: 2, answer: raw("true"), by: "ada".into() };
    backend.inbox.answer(&scope(user), &run(&id), answer).await.expect("answers").expect("there");
    let append = Append { closes: vec![1], payloads: vec![payload(2)], ..extend(&header, 70, notes(71, 1)) };
    backend.queue.append(append).await.expect("appends");
}

async fn finish(backend: &Backend, user: &str, name: &str) {
    let header = header(user, name, &format!("run-of-{name}"));
    backend.queue.append(crate::support::end(&header, 71)).await.expect("ends");
}

trait IntoWorker {
    fn into_worker(self) -> insula_infra::WorkerId;
}

impl IntoWorker for &str {
    fn into_worker(self) -> insula_infra::WorkerId {
        insula_infra::WorkerId::new(self)
    }
}

async fn payload_is_there(backend: &Backend, user: &str, payload: &Payload) -> bool {
    backend.log.payload(&scope(user), &payload.hash()).await.expect("reads").is_some()
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_thread_in_any_table() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    full_thread(&backend, "ada", "kept").await;
    finish(&backend, "ada", "kept").await;
    let before = rows(&folder);
    full_thread(&backend, "ada", "gone-for-good").await;
    let busy = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await;
    assert!(matches!(busy, Err(Error::ThreadBusy { .. })), "{busy:?}");
    finish(&backend, "ada", "gone-for-good").await;
    assert!(rows(&folder)["marks"] > before["marks"] && rows(&folder)["payloads"] > before["payloads"]);
    let deleted = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await.expect("deletes");
    assert_eq!(deleted, Some(insula_infra::Deleted { threads: 1, runs: 1 }));
    assert_eq!(rows(&folder), before);
    for shared in [payload(1), payload(2), payload(104)] {
        assert!(payload_is_there(&backend, "ada", &shared).await, "a run that is left refers to it");
    }
    assert!(!payload_is_there(&backend, "ada", &payload(113)).await);
    let again = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await.expect("answers");
    assert_eq!(again, None);
    full_thread(&backend, "ada", "gone-for-good").await;
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_user_in_any_table() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let allowances = |holder| vec![Allowance { holder, ceiling: Ceiling::default(), window: Duration::from_secs(9) }];
    let amounts = Amounts { tokens: 5, ..Amounts::default() };
    full_thread(&backend, "bob", "kept").await;
    let reservation = Reservation { run: run("r"), index: 1, amounts, allowances: allowances(Holder::Tenant) };
    backend.budgets.reserve(&scope("bob"), reservation.clone()).await.expect("reserves");
    let before = rows(&folder);

    for name in ["one", "three"] {
        full_thread(&backend, "ada", name).await;
    }
    finish(&backend, "ada", "one").await;
    let fork = Fork { thread_id: thread("one"), seq: 5 };
    let ada = scope("ada");
    backend
        .runs
        .fork_thread(&ada, &fork, &thread("fork"), Timestamp::from_micros(9))
        .await
        .expect("forks")
        .expect("there");
    backend.queue.append(create(&header("ada", "fork", "in-fork"), notes(1, 1))).await.expect("creates");
    for space in [StateSpace::User, StateSpace::Agent("echo".to_owned())] {
        put(&backend, "ada", space).await;
    }
    let at = Some(Timestamp::from_micros(1));
    let schedule =
        ScheduleRecord { name: "s".to_owned(), spec: raw("{}"), created_at: Timestamp::from_micros(0), next_at: at };
    backend.schedules.put_schedule(&ada, schedule).await.expect("puts");
    let stop = insula_context::CancelReason::new("user", "enough");
    backend.runs.request_cancel(&ada, &run("not there"), stop).await.expect("asks");
    let limit = RateLimit { name: "calls".to_owned(), max: 5, window: Duration::from_secs(60) };
    backend.quota.take(&ada, &limit, 1).await.expect("takes");
    for (index, holder) in [(1, Holder::Tenant), (2, Holder::User)] {
        let reservation =
            Reservation { run: run("run-of-three"), index, allowances: allowances(holder), ..reservation.clone() };
        backend.budgets.reserve(&ada, reservation).await.expect("reserves");
    }

    let deleted = backend.runs.delete_user(&ada).await.expect("deletes");
    assert_eq!((deleted.threads, deleted.runs), (3, 3));
    assert_eq!(rows(&folder), before);
    let balance = backend.budgets.balance(&scope("bob"), Holder::Tenant).await.expect("reads");
    assert_eq!(balance.reserved, amounts, "what the user had reserved is the tenant's again");
    let refused = backend.queue.append(extend(&header("ada", "three", "run-of-three"), 71, notes(1, 1))).await;
    assert!(matches!(refused, Err(Error::StaleLease { .. })), "{refused:?}");
    assert!(backend.queue.due_schedules(9).await.expect("answers").0.is_empty());
    assert_eq!(rows(&folder), before, "a refused writer has left something");
}

/// Ada's runs in three threads in turn, with `apart` runs of Bob's between each two.
async fn woven(backend: &Backend, rounds: usize, apart: usize) {
    let mut commits = Vec::new();
    for round in 0..rounds {
        for name in ["a", "b", "c"] {
            commits.push(backend.queue.append(whole(&header("ada", name, &format!("{name}-{round}")))));
        }
        for n in 0..apart {
            commits.push(backend.queue.append(whole(&header("bob", "t", &format!("{round}-{n}")))));
        }
    }
    for commit in commits {
        commit.await.expect("commits");
    }
}

/// All pages of Ada's runs, the youngest first.
async fn listed(backend: &Backend, filter: &RunFilter, limit: usize) -> Vec<String> {
    let (mut page, mut found) = (PageRequest { cursor: None, limit }, Vec::new());
    loop {
        let next = backend.runs.runs(&scope("ada"), filter, &page).await.expect("lists");
        found.extend(next.items.iter().map(|record| record.header.run.to_string()));
        page.cursor = next.next;
        if page.cursor.is_none() {
            return found;
        }
    }
}

fn expected(rounds: usize, names: &[&str]) -> Vec<String> {
    (0..rounds).rev().flat_map(|round| names.iter().rev().map(move |name| format!("{name}-{round}"))).collect()
}

async fn threads(backend: &Backend) -> Vec<String> {
    let page = backend.runs.threads(&scope("ada"), &PageRequest::default()).await.expect("lists");
    page.items.iter().map(|record| record.thread_id.to_string()).collect()
}

#[tokio::test]
async fn lists_are_whole_after_a_deletion_at_either_end_or_in_the_middle() {
    for (gone, left) in [("a", ["b", "c"]), ("b", ["a", "c"]), ("c", ["a", "b"])] {
        // The next run of an owner is near at hand, far away, or the youngest.
        for (rounds, apart) in [(700, 0), (3, 300), (1, 0)] {
            let folder = folder();
            let backend = at(&folder).open().expect("opens").into_backend();
            woven(&backend, rounds, apart).await;
            let all = RunFilter::default();
            let half = PageRequest { cursor: None, limit: rounds };
            let cursor = backend.runs.runs(&scope("ada"), &all, &half).await.expect("lists").next;
            let deleted =
                backend.runs.delete_thread(&scope("ada"), &thread(gone)).await.expect("deletes").expect("there");
            assert_eq!(deleted.runs, rounds as u64);
            assert_eq!(listed(&backend, &all, 7).await, expected(rounds, &left), "without {gone}, {rounds} rounds");
            assert_eq!(threads(&backend).await, [left[1], left[0]]);
            let of_thread = RunFilter { thread: Some(thread(left[0])), ..RunFilter::default() };
            assert_eq!(listed(&backend, &of_thread, 7).await, expected(rounds, &left[..1]));
            let rest = PageRequest { cursor, limit: 10_000 };
            let rest = backend.runs.runs(&scope("ada"), &all, &rest).await.expect("a cursor of a deleted run goes on");
            assert!(rest.items.iter().all(|record| record.header.thread != thread(gone)));
            for name in left {
                let id = format!("{name}-0");
                assert!(backend.runs.run(&scope("ada"), &run(&id)).await.expect("reads").is_some());
                let page = backend.log.thread_events(&scope("ada"), &thread(name), 0, 9_999).await.expect("reads");
                assert_eq!(page.expect("there").events.len(), 2 * rounds);
            }
            woven_again(&backend, gone).await;
        }
    }
}

/// The name of a deleted thread and the ids of its runs are free again.
async fn woven_again(backend: &Backend, gone: &str) {
    let head = backend.queue.append(whole(&header("ada", gone, &format!("{gone}-0")))).await.expect("commits").head;
    assert_eq!(head, 2);
    assert_eq!(listed(backend, &RunFilter::default(), 10_000).await[0], format!("{gone}-0"));
}

#[tokio::test]
async fn nothing_is_left_of_what_is_forgotten_and_younger_threads_stay() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let empty = rows(&folder);
    woven(&backend, 40, 3).await;
    // Events in these tests are of the time 2,000.
    let (then, later) = (Timestamp::from_micros(2_000), Timestamp::from_micros(2_001));
    assert_eq!(backend.queue.forget_before(then, 99).await.expect("forgets"), 0);
    let mut open = create(&header("ada", "b", "open"), notes(1, 1));
    open.change = Some(RunChange::Waiting { reason: WaitFor::Timer, until: None, children: Vec::new() });
    backend.queue.append(open).await.expect("parks");
    let fork = Fork { thread_id: thread("a"), seq: 3 };
    backend.runs.fork_thread(&scope("ada"), &fork, &thread("f"), later).await.expect("forks").expect("there");
    assert_eq!(backend.queue.forget_before(later, 1).await.expect("forgets"), 1, "no more than asked for");
    assert_eq!(backend.queue.forget_before(later, 99).await.expect("forgets"), 1);
    assert_eq!(threads(&backend).await, ["f", "b", "a"]);
    let mut kept = expected(40, &["a", "b"]);
    kept.insert(0, "open".to_owned());
    assert_eq!(listed(&backend, &RunFilter::default(), 7).await, kept);
    let stop = insula_context::CancelReason::new("user", "enough");
    backend.runs.request_cancel(&scope("ada"), &run("open"), stop.clone()).await.expect("asks");
    let claimed = backend.queue.claim(&"w".into_worker(), Duration::from_secs(9), 9, 9).await.expect("claims");
    let ended = vec![event(EventType::AgentCancelled, "{}")];
    let change = Some(RunChange::Cancelled(stop));
    let end = Append { events: ended, change, ..Append::new(claimed[0].lease.clone(), 1) };
    backend.queue.append(end).await.expect("ends");
    // A fork goes before what it begins with.
    let much_later = Timestamp::from_micros(i64::MAX);
    assert_eq!(backend.queue.forget_before(much_later, 99).await.expect("forgets"), 2);
    assert_eq!(backend.queue.forget_before(much_later, 99).await.expect("forgets"), 1);
    let mut left = rows(&folder);
    for stays in ["owners", "usage"] {
        assert_eq!(left.insert(stays.to_owned(), 0), Some(2), "{stays}: one of each owner stays");
    }
    assert_eq!(left, empty);
}

#[tokio::test]
async fn what_a_crash_left_half_deleted_is_not_seen_and_goes_with_the_next_deletion() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let empty = rows(&folder);
    woven(&backend, 5, 0).await;
    drop(backend);
    let connection = Connection::open(folder.path().join("insula.db")).expect("opens");
    connection
        .execute_batch(
            "INSERT INTO doomed SELECT thread_no, owner_no, last_run, last_pos, 0 FROM threads WHERE thread_id = 'c';
             UPDATE owners SET last_thread = 2;
             DELETE FROM threads WHERE thread_id = 'c';",
        )
        .expect("writes");
    drop(connection);
    let backend = at(&folder).open().expect("opens").into_backend();
    assert_eq!(listed(&backend, &RunFilter::default(), 4).await, expected(5, &["a", "b"]));
    assert!(backend.runs.run(&scope("ada"), &run("c-0")).await.expect("reads").is_none());
    assert!(backend.log.run_events(&scope("ada"), &run("c-0"), 0, 9).await.expect("reads").is_none());
    backend.queue.append(whole(&header("ada", "c", "new"))).await.expect("the name is free");
    let deleted = backend.runs.delete_thread(&scope("ada"), &thread("c")).await.expect("deletes").expect("there");
    assert_eq!(deleted.runs, 1);
    assert_eq!(rows(&folder)["doomed"], 0);
    assert_eq!(listed(&backend, &RunFilter::default(), 4).await, expected(5, &["a", "b"]));
    let deleted = backend.runs.delete_user(&scope("ada")).await.expect("deletes");
    assert_eq!((deleted.threads, deleted.runs), (2, 10));
    assert_eq!(rows(&folder), empty);
}

#[tokio::test]
async fn a_large_deletion_is_many_small_commits() {
    let folder = folder();
    let sqlite = at(&folder).open().expect("opens");
    let backend = sqlite.clone().into_backend();
    woven(&backend, 1_200, 0).await;
    let before = sqlite.stats().commits;
    let deleted = backend.runs.delete_thread(&scope("ada"), &thread("b")).await.expect("deletes").expect("there");
    assert_eq!(deleted.runs, 1_200);
    // 1,200 runs, as many chunks of the log, and the runs of others between them.
    assert!(sqlite.stats().commits - before >= 4, "{} commits", sqlite.stats().commits - before);
}
