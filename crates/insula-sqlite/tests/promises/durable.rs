//! What is there again when the file is opened again, and files of an earlier version.

use std::time::Duration;

use insula_context::{CancelReason, Timestamp};
use insula_infra::{
    Allowance, Amounts, Answer, AnswerRequest, Append, CancelRequest, Ceiling, Error, Holder, PageRequest, Reservation,
    Reserved, RunChange, ScheduleRecord, ThreadPolicy, WaitFor, WorkerId,
};
use insula_sqlite::{SCHEMA_VERSION, SchemaStatus, schema_status};
use rusqlite::Connection;

use crate::support::{at, create, end, extend, folder, header, new_run, notes, question, raw, run, scope, thread};

const LEASE: Duration = Duration::from_secs(30);

fn reservation() -> Reservation {
    let ceiling = Ceiling { tokens: Some(7), ..Ceiling::default() };
    let allowances = vec![Allowance { holder: Holder::User, ceiling, window: Duration::from_secs(600) }];
    Reservation { run: run("r"), index: 3, amounts: Amounts { tokens: 5, ..Amounts::default() }, allowances }
}

fn answer(index: u32) -> Answer {
    Answer { index, answer: raw("\"yes\""), by: "ada".into() }
}

#[tokio::test]
async fn a_reopened_file_knows_questions_answers_schedules_accounts_and_wishes() {
    let (folder, ada) = (folder(), scope("ada"));
    let backend = at(&folder).open().expect("opens").into_backend();
    let mut parked = create(&header("ada", "t", "r"), notes(1, 1));
    parked.asks = vec![question(1), question(2)];
    parked.change = Some(RunChange::Waiting { reason: WaitFor::Human, until: None, children: Vec::new() });
    backend.queue.append(parked).await.expect("parks");
    assert_eq!(backend.inbox.answer(&ada, &run("r"), answer(1)).await.expect("answers"), Some(AnswerRequest::Recorded));
    let next_at = Some(Timestamp::from_micros(5));
    let schedule =
        ScheduleRecord { name: "s".to_owned(), spec: raw("{}"), created_at: Timestamp::from_micros(4), next_at };
    backend.schedules.put_schedule(&ada, schedule).await.expect("puts");
    assert_eq!(backend.budgets.reserve(&ada, reservation()).await.expect("reserves"), Reserved::Granted);
    let wish = CancelReason::new("user", "enough");
    let asked = backend.runs.request_cancel(&ada, &run("ahead"), wish.clone()).await.expect("asks");
    assert_eq!(asked, CancelRequest::Ahead);
    drop(backend);

    let backend = at(&folder).open().expect("opens").into_backend();
    let open = backend.inbox.questions(&ada, None, &PageRequest::default()).await.expect("lists").items;
    assert_eq!(open.iter().map(|open| open.question.index).collect::<Vec<_>>(), [2]);
    let again = backend.inbox.answer(&ada, &run("r"), answer(1)).await.expect("answers");
    assert_eq!(again, Some(AnswerRequest::Answered));
    let claimed = backend.queue.claim(&WorkerId::new("w"), LEASE, 9, 9).await.expect("claims");
    let [claimed] = claimed.as_slice() else { panic!("one is woken: {claimed:?}") };
    assert_eq!(claimed.answers.iter().map(|answer| answer.answer.get()).collect::<Vec<_>>(), ["\"yes\""]);
    assert_eq!(claimed.run.waits_for, Some(WaitFor::Human));
    let (due, _) = backend.queue.due_schedules(9).await.expect("answers");
    assert_eq!((due.len(), &due[0].0, due[0].1.next_at), (1, &ada, next_at));
    assert_eq!(backend.budgets.balance(&ada, Holder::User).await.expect("reads").reserved.tokens, 5);
    assert_eq!(backend.budgets.reserve(&ada, reservation()).await.expect("reserves"), Reserved::Granted);
    let other = Reservation { index: 4, ..reservation() };
    assert!(matches!(backend.budgets.reserve(&ada, other).await.expect("reserves"), Reserved::Refused { .. }));
    let refused = backend.queue.append(create(&header("ada", "t", "ahead"), notes(1, 1))).await;
    assert!(matches!(&refused, Err(Error::CancelledAhead { reason, .. }) if *reason == wish), "{refused:?}");
    let ends = Append { lease: claimed.lease.clone(), ..end(&header("ada", "t", "r"), 1) };
    backend.queue.append(ends).await.expect("ends");
    assert!(backend.inbox.questions(&ada, None, &PageRequest::default()).await.expect("lists").items.is_empty());
    assert_eq!(backend.budgets.balance(&ada, Holder::User).await.expect("reads").reserved, Amounts::default());
}

#[tokio::test]
async fn a_line_of_runs_in_a_thread_goes_on_after_a_restart() {
    let folder = folder();
    let submit = async |backend: &insula_infra::Backend, id: &str| {
        let new = insula_infra::NewRun {
            policy: Some(ThreadPolicy::Enqueue),
            most_queued: Some(2),
            ..new_run(&header("ada", "t", id))
        };
        backend.queue.submit(new, None).await
    };
    let backend = at(&folder).open().expect("opens").into_backend();
    for id in ["1", "2"] {
        submit(&backend, id).await.expect("submits");
    }
    drop(backend);
    let backend = at(&folder).open().expect("opens").into_backend();
    assert!(matches!(submit(&backend, "3").await, Err(Error::QueueFull { limit: 2 })));
    for id in ["1", "2"] {
        let claimed = backend.queue.claim(&WorkerId::new("w"), LEASE, 9, 9).await.expect("claims");
        let [claimed] = claimed.as_slice() else { panic!("one at a time: {claimed:?}") };
        assert_eq!(claimed.lease.header.run, run(id));
        backend.queue.append(end(&header("ada", "t", id), 0)).await.expect("ends");
    }
    submit(&backend, "3").await.expect("there is room again");
}

#[tokio::test]
async fn a_file_of_the_first_version_is_brought_up_to_date_with_its_runs() {
    let folder = folder();
    let path = folder.path().join("insula.db");
    let first = Connection::open(&path).expect("opens");
    first.execute_batch(include_str!("../../migrations/0001_start.sql")).expect("makes");
    first
        .execute_batch(
            "INSERT INTO owners VALUES (1, 'acme', 'ada', 2, 1);
             INSERT INTO threads VALUES (1, 1, 't', 0, 5, 0, 0, 2);
             INSERT INTO runs VALUES (1, 1, 'queued', 1, 0, 0, 'queued', 1, 5, 0, NULL, NULL, 0, 0, 0, 0, 5, NULL, NULL,
                 NULL, NULL, 'echo', '1', NULL, NULL, NULL, NULL, 'key', '{\"n\":1}', NULL);
             INSERT INTO runs VALUES (2, 1, 'ended', 1, 1, 1, 'completed', NULL, NULL, 1, NULL, NULL, 0, 0, 0, 0, 5, 6, 7,
                 NULL, NULL, 'echo', '1', NULL, NULL, NULL, NULL, NULL, '{}', '\"done\"');
             INSERT INTO payloads VALUES (1, x'00', x'01');
             PRAGMA application_id = 1229869900; PRAGMA user_version = 1;",
        )
        .expect("writes");
    drop(first);
    assert_eq!(schema_status(&path).expect("reads"), SchemaStatus::Version(1));
    let backend = at(&folder).open().expect("opens").into_backend();
    assert_eq!(schema_status(&path).expect("reads"), SchemaStatus::Version(SCHEMA_VERSION));
    let claimed = backend.queue.claim(&WorkerId::new("w"), LEASE, 9, 9).await.expect("claims");
    assert_eq!((claimed.len(), claimed[0].run.input.get()), (1, "{\"n\":1}"));
    backend.queue.append(extend(&claimed[0].lease.header, 0, notes(1, 1))).await.expect("goes on");
    let ended = backend.runs.run(&scope("ada"), &run("ended")).await.expect("reads").expect("there");
    assert_eq!(ended.result.as_ref().map(|result| result.get()), Some("\"done\""));
    backend.queue.append(end(&header("ada", "t", "queued"), 1)).await.expect("ends");
    backend.runs.delete_thread(&scope("ada"), &thread("t")).await.expect("deletes").expect("there");
    let count =
        |sql| Connection::open(&path).expect("opens").query_row(sql, [], |row| row.get::<_, i64>(0)).expect("counts");
    assert_eq!(count("SELECT count(*) FROM payloads"), 1, "nobody knows who refers to it");
    backend.runs.delete_user(&scope("ada")).await.expect("deletes");
    assert_eq!(count("SELECT (SELECT count(*) FROM payloads) + (SELECT count(*) FROM payload_uses)"), 0);
}
