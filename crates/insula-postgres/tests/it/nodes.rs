//! Several processes on one database.

use std::{sync::Arc, time::Duration};

use insula_context::CancelReason;
use insula_infra::{Backend, Error, WorkerId, conformance::ManualClock};
use insula_postgres::{PostgresBackend, SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
use insula_test_services::{Postgres, Proxy};
use tokio::task::JoinSet;

use crate::{
    story::{create, end, extend, header, new_run, notes, run, scope, thread, whole},
    support,
};

const LEASE: Duration = Duration::from_secs(30);

async fn two(database: &Postgres) -> ([Backend; 2], Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let one = support::at(database).clock(clock.clone()).connect().await.expect("connects").into_backend();
    let other = support::at(database).clock(clock.clone()).connect().await.expect("connects").into_backend();
    ([one, other], clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_processes_may_bring_a_database_up_to_date_at_once() {
    let database = Postgres::fresh("migrating").await;
    let mut processes = JoinSet::new();
    for _ in 0..10 {
        let url = database.url();
        processes.spawn(async move { migrate(&url).await });
    }
    let from: Vec<_> = processes.join_all().await.into_iter().map(|from| from.expect("migrates")).collect();
    assert_eq!(from.iter().filter(|from| **from == SchemaStatus::Empty).count(), 1, "{from:?}");
    assert_eq!(schema_status(&database.url()).await.expect("is read"), SchemaStatus::Version(SCHEMA_VERSION));
}

#[tokio::test]
async fn a_role_that_goes_past_the_walls_is_refused_and_so_is_an_empty_database() {
    let database = support::database().await;
    let past = PostgresBackend::at(database.url()).connect().await.expect_err("a superuser");
    assert!(past.to_string().contains("row-level security"), "{past}");
    let empty = Postgres::fresh("empty").await;
    let missing = support::at(&empty).connect().await.expect_err("no schema");
    assert!(missing.to_string().contains("insula migrate"), "{missing}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_writes_is_told_to_readers_of_another() {
    let database = support::database().await;
    let ([one, other], _) = two(&database).await;
    let (ada, talk) = (scope("ada"), thread("talk"));
    let mut watch = other.signals.watch(&ada, &talk);
    let header = header("ada", "talk", "r-1");
    one.queue.append(create(&header, notes(1, 2))).await.expect("is written");
    let mut head = 0;
    // It listens from some moment on; what is written later is told for certain.
    for after in 2.. {
        if let Ok(told) = tokio::time::timeout(Duration::from_millis(500), watch.changed()).await {
            head = told;
        }
        if head >= 2 {
            break;
        }
        assert!(after < 60, "nothing was heard");
        one.queue.append(extend(&header, after, notes(after + 1, 1))).await.expect("is written");
    }
    let page = other.log.thread_events(&ada, &talk, 0, 100).await.expect("is read").expect("is there");
    assert!(page.head >= head, "what was told of is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_taken_over_is_refused() {
    let database = support::database().await;
    let ([one, other], clock) = two(&database).await;
    let header = header("ada", "talk", "r-1");
    one.queue.append(create(&header, notes(1, 1))).await.expect("is written");
    assert!(other.queue.claim(&WorkerId::new("other"), LEASE, 10, 10).await.expect("claims").is_empty());
    clock.advance(LEASE + Duration::from_secs(1));
    let claimed = other.queue.claim(&WorkerId::new("other"), LEASE, 10, 10).await.expect("claims");
    assert_eq!(claimed.iter().map(|run| run.lease.token).collect::<Vec<_>>(), [2]);
    let late = one.queue.append(end(&header, 1)).await.expect_err("is refused");
    assert!(matches!(late, Error::StaleLease { held: 1, .. }), "{late}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_queued_run_is_handed_to_one_of_many_who_claim() {
    const RUNS: usize = 200;
    let database = support::database().await;
    let ([one, other], _) = two(&database).await;
    for n in 0..RUNS {
        let header = header(&format!("u{}", n % 7), &format!("t-{n}"), &format!("r-{n}"));
        one.queue.submit(new_run(&header), None).await.expect("is queued");
    }
    let mut claims = JoinSet::new();
    for n in 0..8 {
        let (queue, worker) = (Arc::clone(&[&one, &other][n % 2].queue), WorkerId::new(format!("w{n}")));
        claims.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let claimed = queue.claim(&worker, LEASE, 7, 1_000).await.expect("claims");
                if claimed.is_empty() {
                    return taken;
                }
                taken.extend(claimed.into_iter().map(|run| run.lease.header.run.to_string()));
            }
        });
    }
    let mut taken: Vec<String> = claims.join_all().await.into_iter().flatten().collect();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken.len(), RUNS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_to_stop_is_told_to_whoever_holds_the_run_wherever_it_is() {
    let database = support::database().await;
    let ([one, other], _) = two(&database).await;
    one.queue.append(create(&header("ada", "talk", "r-1"), notes(1, 1))).await.expect("is written");
    other
        .runs
        .request_cancel(&scope("ada"), &run("r-1"), CancelReason::new("user", "enough"))
        .await
        .expect("is recorded");
    let news = one.queue.news(&WorkerId::new("w")).await.expect("is read");
    assert_eq!(news.first().and_then(|news| news.stop.clone()).expect("a wish").why, "enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_cut_are_made_again_and_nothing_is_written_twice() {
    let database = support::database().await;
    let proxy = Proxy::to(&support::as_role(&database, "insula_app"));
    let backend = PostgresBackend::at(proxy.url()).connect().await.expect("connects").into_backend();
    for n in 0..20 {
        backend.queue.append(whole(&header("ada", "talk", &format!("r-{n}")))).await.expect("is written");
        proxy.cut().await;
        let page = backend.log.thread_events(&scope("ada"), &thread("talk"), 0, 1_000).await.expect("is read");
        assert_eq!(page.expect("is there").head, 2 * (n + 1));
    }
}
