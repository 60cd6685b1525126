//! What is deleted is gone from every table, what is not is as it was, and whoever writes meanwhile loses nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use insula_context::{CancelReason, Timestamp};
use insula_infra::{
    Allowance, Amounts, Answer, Append, Backend, Ceiling, Deleted, Error, EventType, Fork, Holder, NewRun, PageRequest,
    Payload, RateLimit, Reservation, RunChange, ScheduleRecord, StateKey, StateSpace, ThreadPolicy, WaitFor, WorkerId,
};
use insula_test_services::Postgres;
use sqlx::{Executor, PgConnection};

use crate::{
    story::{
        administrator, create, end, event, extend, header, new_run, notes, one, question, raw, rows, run, scope,
        thread, whole,
    },
    support,
};

/// A run that goes in turn with the others of its thread.
fn in_turn(in_thread: &str, id: &str) -> NewRun {
    NewRun { policy: Some(ThreadPolicy::Enqueue), ..new_run(&header("ada", in_thread, id)) }
}

fn payload(byte: u8) -> Payload {
    Payload::new(vec![byte; 20_000])
}

async fn put(backend: &Backend, user: &str, space: StateSpace) {
    let key = StateKey { space, name: "k".to_owned() };
    backend.state.put(&scope(user), &key, raw("1")).await.expect("puts");
}

/// A thread with everything that a thread can have: events, questions, payloads of its own and shared ones, state, a call.
async fn full_thread(backend: &Backend, user: &str, name: &str) {
    let id = format!("run-of-{name}");
    let header = header(user, name, &id);
    let mut new = new_run(&header);
    new.payload = Some(payload(1));
    new.webhook = Some(raw("{}"));
    backend.queue.submit(new, Some(&format!("key-of-{name}"))).await.expect("submits");
    let claimed = backend.queue.claim(&WorkerId::new("w"), Duration::from_secs(30), 1, 9).await.expect("claims");
    assert_eq!(claimed.len(), 1);
    let payloads = vec![payload(2), payload(name.len() as u8 + 100)];
    let asks = vec![question(1), question(2), question(3)];
    let append = Append { payloads, asks, ..extend(&header, 0, notes(1, 70)) };
    backend.queue.append(append).await.expect("appends");
    put(backend, user, StateSpace::Run(run(&id))).await;
    put(backend, user, StateSpace::Thread(thread(name))).await;
    let answer = Answer { index: 2, answer: raw("true"), by: "ada".into() };
    backend.inbox.answer(&scope(user), &run(&id), answer).await.expect("answers").expect("there");
    let append = Append { closes: vec![1], payloads: vec![payload(2)], ..extend(&header, 70, notes(71, 1)) };
    backend.queue.append(append).await.expect("appends");
}

async fn finish(backend: &Backend, user: &str, name: &str) {
    let header = header(user, name, &format!("run-of-{name}"));
    backend.queue.append(end(&header, 71)).await.expect("ends");
}

async fn payload_is_there(backend: &Backend, payload: &Payload) -> bool {
    backend.log.payload(&scope("ada"), &payload.hash()).await.expect("reads").is_some()
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_thread_in_any_table() {
    let (database, backend) = one().await;
    full_thread(&backend, "ada", "kept").await;
    finish(&backend, "ada", "kept").await;
    let before = rows(&database).await;
    full_thread(&backend, "ada", "gone-for-good").await;
    let busy = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await;
    assert!(matches!(busy, Err(Error::ThreadBusy { .. })), "{busy:?}");
    finish(&backend, "ada", "gone-for-good").await;
    let fork = Fork { thread_id: thread("gone-for-good"), seq: 3 };
    let at = Timestamp::from_micros(9);
    backend.runs.fork_thread(&scope("ada"), &fork, &thread("f"), at).await.expect("forks").expect("there");
    let forked = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await;
    assert!(matches!(forked, Err(Error::ThreadForked { .. })), "{forked:?}");
    let deleted = backend.runs.delete_thread(&scope("ada"), &thread("f")).await.expect("deletes");
    assert_eq!(deleted, Some(Deleted { threads: 1, runs: 0 }));
    let deleted = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await.expect("deletes");
    assert_eq!(deleted, Some(Deleted { threads: 1, runs: 1 }));
    assert_eq!(rows(&database).await, before);
    for shared in [payload(1), payload(2), payload(104)] {
        assert!(payload_is_there(&backend, &shared).await, "a run that is left refers to it");
    }
    assert!(!payload_is_there(&backend, &payload(113)).await);
    let again = backend.runs.delete_thread(&scope("ada"), &thread("gone-for-good")).await.expect("answers");
    assert_eq!(again, None);
    full_thread(&backend, "ada", "gone-for-good").await;
}

fn allowances(holder: Holder) -> Vec<Allowance> {
    vec![Allowance { holder, ceiling: Ceiling::default(), window: Duration::from_secs(9) }]
}

/// Everything that a user can have beside threads.
async fn belongings(backend: &Backend, user: &str) {
    let ada = scope(user);
    for space in [StateSpace::User, StateSpace::Agent("echo".to_owned())] {
        put(backend, user, space).await;
    }
    let at = Some(Timestamp::from_micros(1));
    let schedule =
        ScheduleRecord { name: "s".to_owned(), spec: raw("{}"), created_at: Timestamp::from_micros(0), next_at: at };
    backend.schedules.put_schedule(&ada, schedule).await.expect("puts");
    let stop = CancelReason::new("user", "enough");
    backend.runs.request_cancel(&ada, &run("not there"), stop).await.expect("asks");
    let limit = RateLimit { name: "calls".to_owned(), max: 5, window: Duration::from_secs(60) };
    backend.quota.take(&ada, &limit, 1).await.expect("takes");
    let amounts = Amounts { tokens: 7, ..Amounts::default() };
    for (index, holder) in [(1, Holder::Tenant), (2, Holder::User)] {
        let reservation = Reservation { run: run("run-of-three"), index, amounts, allowances: allowances(holder) };
        backend.budgets.reserve(&ada, reservation).await.expect("reserves");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_deleted_user_but_the_name() {
    let (database, backend) = one().await;
    let amounts = Amounts { tokens: 5, ..Amounts::default() };
    full_thread(&backend, "bob", "kept").await;
    let reservation = Reservation { run: run("r"), index: 1, amounts, allowances: allowances(Holder::Tenant) };
    backend.budgets.reserve(&scope("bob"), reservation).await.expect("reserves");
    let before = rows(&database).await;

    for name in ["one", "three"] {
        full_thread(&backend, "ada", name).await;
    }
    finish(&backend, "ada", "one").await;
    let fork = Fork { thread_id: thread("one"), seq: 5 };
    let (ada, at) = (scope("ada"), Timestamp::from_micros(9));
    backend.runs.fork_thread(&ada, &fork, &thread("fork"), at).await.expect("forks").expect("there");
    backend.queue.append(create(&header("ada", "fork", "in-fork"), notes(1, 1))).await.expect("creates");
    belongings(&backend, "ada").await;

    let deleted = backend.runs.delete_user(&ada).await.expect("deletes");
    assert_eq!((deleted.threads, deleted.runs), (3, 3));
    let mut left = rows(&database).await;
    for stays in ["owners", "lines"] {
        *left.get_mut(stays).expect("a table") -= 1;
    }
    assert_eq!(left, before);
    let balance = backend.budgets.balance(&scope("bob"), Holder::Tenant).await.expect("reads");
    assert_eq!(balance.reserved, amounts, "what the user had reserved is the tenant's again");
    let refused = backend.queue.append(extend(&header("ada", "three", "run-of-three"), 71, notes(1, 1))).await;
    assert!(matches!(refused, Err(Error::StaleLease { .. })), "{refused:?}");
    assert!(backend.queue.due_schedules(9).await.expect("answers").0.is_empty());
    full_thread(&backend, "ada", "three").await;
    finish(&backend, "ada", "three").await;
}

/// Runs of two users in three threads each.
async fn woven(backend: &Backend, rounds: usize) {
    let names = |round| ["a", "b", "c"].map(|name| (name, format!("{name}-{round}")));
    let runs = (0..rounds).flat_map(names).flat_map(|run| [("ada", run.clone()), ("bob", run)]);
    let commits: Vec<_> =
        runs.map(|(user, (name, id))| backend.queue.append(whole(&header(user, name, &id)))).collect();
    for commit in commits {
        commit.await.expect("commits");
    }
}

/// Their names, sorted: what is begun at the same time may be numbered in any order.
async fn threads(backend: &Backend, user: &str) -> Vec<String> {
    let page = backend.runs.threads(&scope(user), &PageRequest::default()).await.expect("lists");
    let mut names: Vec<_> = page.items.iter().map(|record| record.thread_id.to_string()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn nothing_is_left_of_what_is_forgotten_and_younger_threads_stay() {
    let (database, backend) = one().await;
    let empty = rows(&database).await;
    woven(&backend, 20).await;
    // Events in these tests are of the time 2,000.
    let (then, later) = (Timestamp::from_micros(2_000), Timestamp::from_micros(2_001));
    assert_eq!(backend.queue.forget_before(then, 99).await.expect("forgets"), 0);
    let mut open = create(&header("ada", "b", "open"), notes(1, 1));
    open.change = Some(RunChange::Waiting { reason: WaitFor::Timer, until: None, children: Vec::new() });
    backend.queue.append(open).await.expect("parks");
    let fork = Fork { thread_id: thread("a"), seq: 3 };
    backend.runs.fork_thread(&scope("ada"), &fork, &thread("f"), later).await.expect("forks").expect("there");
    assert_eq!(backend.queue.forget_before(later, 1).await.expect("forgets"), 1, "no more than asked for");
    assert_eq!(backend.queue.forget_before(later, 99).await.expect("forgets"), 3);
    assert_eq!(threads(&backend, "ada").await, ["a", "b", "f"]);
    assert!(threads(&backend, "bob").await.is_empty());
    let stop = CancelReason::new("user", "enough");
    backend.runs.request_cancel(&scope("ada"), &run("open"), stop.clone()).await.expect("asks");
    let claimed = backend.queue.claim(&WorkerId::new("w"), Duration::from_secs(9), 9, 9).await.expect("claims");
    let change = Some(RunChange::Cancelled(stop));
    let events = vec![event(EventType::AgentCancelled, "{}")];
    let end = Append { events, change, ..Append::new(claimed[0].lease.clone(), 1) };
    backend.queue.append(end).await.expect("ends");
    // A fork goes before what it begins with.
    let much_later = Timestamp::from_micros(i64::MAX);
    assert_eq!(backend.queue.forget_before(much_later, 99).await.expect("forgets"), 2);
    assert_eq!(backend.queue.forget_before(much_later, 99).await.expect("forgets"), 1);
    let mut left = rows(&database).await;
    for stays in ["owners", "lines", "usage"] {
        assert!(left.insert(stays.to_owned(), 0) >= Some(2), "{stays}: one of each owner stays");
    }
    assert_eq!(left, empty);
}

/// Waits until so many others wait for locks in this database. Half a minute ends a hopeless wait.
async fn waiting(database: &Postgres, others: i64) {
    const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let mut administrator = administrator(database).await;
    let all = async {
        while sqlx::query_scalar::<_, i64>(WAITING).fetch_one(&mut administrator).await.expect("counts") < others {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.expect("they wait for locks");
}

/// Holds what it has locked until the connection is given up.
async fn holding(database: &Postgres, sql: &'static str) -> PgConnection {
    let mut connection = administrator(database).await;
    connection.execute("BEGIN").await.expect("begins");
    let done = connection.execute(sql).await.expect("locks");
    assert_ne!(done.rows_affected(), 0, "{sql}");
    connection
}

#[tokio::test]
async fn bytes_that_somebody_refers_to_again_while_they_are_deleted_stay() {
    let (database, backend) = one().await;
    let with = |name: &str| Append { payloads: vec![payload(7)], ..whole(&header("ada", name, name)) };
    backend.queue.append(with("gone")).await.expect("appends");
    // The next writer has written down that it refers to the bytes, and cannot commit yet.
    let held = holding(&database, "SELECT 1 FROM insula.usage FOR UPDATE").await;
    let appending = tokio::spawn(backend.queue.append(with("kept")));
    waiting(&database, 1).await;
    let (runs, ada) = (backend.runs.clone(), scope("ada"));
    let deleting = tokio::spawn(async move { runs.delete_thread(&ada, &thread("gone")).await });
    waiting(&database, 2).await;
    drop(held);
    appending.await.expect("goes on").expect("commits");
    deleting.await.expect("goes on").expect("deletes").expect("there");
    assert!(payload_is_there(&backend, &payload(7)).await);
    backend.runs.delete_thread(&scope("ada"), &thread("kept")).await.expect("deletes").expect("there");
    assert_eq!(rows(&database).await["payloads"], 0);
}

#[tokio::test]
async fn a_claim_that_is_under_way_while_its_owner_is_deleted_leaves_nothing() {
    let (database, backend) = one().await;
    backend.queue.submit(in_turn("t", "r"), None).await.expect("submits");
    // The claim has the run and is about to say that it was served.
    let served = "INSERT INTO insula.served SELECT owner_no, 1 FROM insula.owners WHERE user_id = 'ada'";
    let held = holding(&database, served).await;
    let queue = backend.queue.clone();
    let claiming = tokio::spawn(async move { queue.claim(&WorkerId::new("w"), Duration::from_secs(30), 1, 9).await });
    waiting(&database, 1).await;
    let (runs, ada) = (backend.runs.clone(), scope("ada"));
    let deleting = tokio::spawn(async move { runs.delete_user(&ada).await });
    waiting(&database, 2).await;
    drop(held);
    claiming.await.expect("goes on").expect("answers");
    assert_eq!(deleting.await.expect("goes on").expect("deletes"), Deleted { threads: 1, runs: 1 });
    let left = rows(&database).await;
    assert_eq!((left["runs"], left["served"], left["threads"]), (0, 0, 0), "{left:?}");
}

/// Rows that refer to others which are not there.
const ORPHANS: &str = "
    SELECT 'log', count(*) FROM insula.log l WHERE NOT EXISTS
        (SELECT 1 FROM insula.runs r WHERE r.owner_no = l.owner_no AND r.run_no = l.run_no AND r.thread_no = l.thread_no)
    UNION ALL SELECT 'runs', count(*) FROM insula.runs r WHERE NOT EXISTS
        (SELECT 1 FROM insula.threads t WHERE t.owner_no = r.owner_no AND t.thread_no = r.thread_no)
    UNION ALL SELECT 'forks', count(*) FROM insula.threads f WHERE f.base_no <> 0 AND NOT EXISTS
        (SELECT 1 FROM insula.threads t WHERE t.owner_no = f.owner_no AND t.thread_no = f.base_no)
    UNION ALL SELECT 'uses', count(*) FROM insula.payload_uses u WHERE NOT EXISTS
        (SELECT 1 FROM insula.runs r WHERE r.owner_no = u.owner_no AND r.run_no = u.run_no)
    UNION ALL SELECT 'bytes', count(*) FROM insula.payload_uses u WHERE NOT EXISTS
        (SELECT 1 FROM insula.payloads p WHERE p.owner_no = u.owner_no AND p.hash = u.hash)
    UNION ALL SELECT 'payloads', count(*) FROM insula.payloads p WHERE NOT EXISTS
        (SELECT 1 FROM insula.payload_uses u WHERE p.owner_no = u.owner_no AND p.hash = u.hash)
    UNION ALL SELECT 'questions', count(*) FROM insula.questions q WHERE NOT EXISTS
        (SELECT 1 FROM insula.runs r WHERE r.owner_no = q.owner_no AND r.run_no = q.run_no)
    UNION ALL SELECT 'calls', count(*) FROM insula.webhooks w WHERE NOT EXISTS
        (SELECT 1 FROM insula.runs r WHERE r.owner_no = w.owner_no AND r.run_no = w.run_no)
    UNION ALL SELECT 'served', count(*) FROM insula.served s JOIN insula.lines l USING (owner_no)
        WHERE s.claimed > l.submitted";

/// What may happen at the same time as anything else; refusals are expected, failures are not.
fn expected<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    if let Err(error) = outcome {
        let refused = matches!(
            error,
            Error::RunExists { .. }
                | Error::StaleLease { .. }
                | Error::RunEnded { .. }
                | Error::OutOfOrder { .. }
                | Error::ThreadBusy { .. }
                | Error::ThreadForked { .. }
                | Error::ThreadExists { .. }
        );
        assert!(refused, "{error:?}");
    }
}

async fn writes(backend: Backend, who: usize) {
    for n in 0..60 {
        let (name, id) = (format!("t{}", n % 3), format!("r-{who}-{n}"));
        let of = header("ada", &name, &id);
        let append = Append { payloads: vec![payload(n % 2)], ..create(&of, notes(1, 1)) };
        expected(backend.queue.append(append).await);
        let append = Append { asks: vec![question(1)], ..extend(&of, 1, notes(2, 1)) };
        expected(backend.queue.append(append).await);
        expected(backend.queue.append(end(&of, 2)).await);
        expected(backend.queue.submit(in_turn(&name, &format!("s-{who}-{n}")), None).await);
    }
}

/// Until it is told that nobody writes any more. Says how many runs it has had.
async fn claims(backend: Backend, is_over: Arc<AtomicBool>) -> usize {
    let mut had = 0;
    while !is_over.load(Ordering::Relaxed) {
        let claimed = backend.queue.claim(&WorkerId::new("c"), Duration::from_secs(30), 3, 9).await.expect("claims");
        had += claimed.len();
        for claimed in claimed {
            let change = Some(RunChange::Completed { result: raw("1") });
            let events = vec![event(EventType::AgentCompleted, "{}")];
            let end = Append { events, change, ..Append::new(claimed.lease.clone(), 0) };
            expected(backend.queue.append(end).await);
        }
    }
    had
}

async fn deletes(backend: Backend) {
    let ada = scope("ada");
    for n in 0..60 {
        let name = format!("t{}", n % 3);
        let (fork, at) = (Fork { thread_id: thread(&name), seq: 1 }, Timestamp::from_micros(9));
        expected(backend.runs.fork_thread(&ada, &fork, &thread(&format!("f{}", n % 5)), at).await);
        expected(backend.runs.delete_thread(&ada, &thread(&format!("f{}", (n + 3) % 5))).await);
        expected(backend.runs.delete_thread(&ada, &thread(&name)).await);
        expected(backend.queue.forget_before(Timestamp::from_micros(3_000), 2).await);
        if n % 10 == 9 {
            expected(backend.runs.delete_user(&ada).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_written_and_deleted_at_the_same_time_nothing_refers_to_what_is_gone() {
    let (database, first) = one().await;
    let second = support::at(&database).connect().await.expect("connects").into_backend();
    let is_over = Arc::new(AtomicBool::new(false));
    let claiming = tokio::spawn(claims(second.clone(), Arc::clone(&is_over)));
    let tasks = [
        tokio::spawn(writes(first.clone(), 1)),
        tokio::spawn(writes(second.clone(), 2)),
        tokio::spawn(deletes(first.clone())),
        tokio::spawn(deletes(second.clone())),
    ];
    for task in tasks {
        task.await.expect("nothing fails");
    }
    is_over.store(true, Ordering::Relaxed);
    assert_ne!(claiming.await.expect("nothing fails"), 0);
    let orphans: Vec<(String, i64)> =
        sqlx::query_as(ORPHANS).fetch_all(&mut administrator(&database).await).await.expect("looks");
    assert!(orphans.iter().all(|(_, count)| *count == 0), "{orphans:?}");
}
