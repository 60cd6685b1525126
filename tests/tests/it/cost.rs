//! Steady cost: what users, engines and turns take, in memory and on the disk.
//!
//! Times, and the memory of the release binary, are measured by the benches.

use std::sync::Arc;

use futures::future::join_all;
use insula_context::{SystemClock, ThreadId, UserScope};
use insula_infra::MemoryBackend;
use serde_json::json;

use crate::support::{Backing, Island, alone, context, context_in, resident_bytes, user, users, words};

const MEGABYTE: u64 = 1_000_000;

fn in_a_runtime<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(story)
}

/// Everything that a user does in a day: runs of several kinds, state, cache, rows, and reading it all again.
async fn journey(island: &Island, owner: &UserScope) -> usize {
    let context = context(owner);
    let engine = island.engine(&context);
    let mut succeeded = 0;
    let leaky = json!({"plant": "a note", "victims": []});
    for (class, input) in [("echo", json!(owner)), ("tools", json!(1)), ("chatty", json!(1)), ("leaky", leaky)] {
        let outcome = engine.execute_agent(&context.next_run(), class, input).await.unwrap();
        succeeded += usize::from(outcome.is_success());
    }
    let read = engine.events(context.thread(), 0).ready().await.unwrap();
    assert!(read.len() > 60, "{} events", read.len());
    succeeded
}

#[test]
fn perf_2_seventy_five_whole_journeys_take_less_than_a_megabyte_each() {
    alone("cost::perf_2_seventy_five_whole_journeys_take_less_than_a_megabyte_each", || {
        in_a_runtime(async {
            let backing = Backing::sqlite();
            let island = Island::new(backing.open(Arc::new(SystemClock::new())));
            journey(&island, &user("warm-up")).await;
            let before = resident_bytes();
            let succeeded: usize = join_all(users(75).iter().map(|owner| journey(&island, owner))).await.iter().sum();
            let each = resident_bytes().saturating_sub(before) / 75;
            println!("75 journeys: {each} bytes each");
            assert_eq!(succeeded, 75 * 4);
            assert!(each < MEGABYTE, "{each} bytes for each journey");
            let metrics = island.factory().metrics();
            assert_eq!((metrics.engines_live, metrics.instances_live, metrics.users_live), (0, 0, 0));
        });
    });
}

#[test]
fn perf_3_a_thousand_live_engines_of_a_thousand_users_take_less_than_five_megabytes() {
    alone("cost::perf_3_a_thousand_live_engines_of_a_thousand_users_take_less_than_five_megabytes", || {
        in_a_runtime(async {
            let island = Island::new(MemoryBackend::new().into_backend());
            drop(island.engine(&context(&user("warm-up"))));
            let before = resident_bytes();
            let engines: Vec<_> = users(1_000)
                .into_iter()
                .map(|owner| {
                    let context = context(&owner);
                    let engine = island.factory().create_for_user(&context).unwrap();
                    (context, engine)
                })
                .collect();
            let taken = resident_bytes().saturating_sub(before);
            println!("1,000 contexts and engines: {taken} bytes");
            assert_eq!((engines.len(), island.factory().metrics().engines_live), (1_000, 1_000));
            assert!(taken < 5 * MEGABYTE, "{taken} bytes");
        });
    });
}

#[test]
fn steady_cost_a_late_turn_of_a_thread_takes_the_disk_what_an_early_one_took() {
    let backing = Backing::sqlite();
    let ada = user("ada");
    let thread = ThreadId::new("a-long-talk").unwrap();
    // The file as it is once it is closed: without a log beside it that hides how large it is.
    let size_after = |turns: usize| {
        in_a_runtime(async {
            let island = Island::new(backing.open(Arc::new(SystemClock::new())));
            for n in 0..turns {
                let turn = context_in(&ada, &thread);
                let outcome = island.engine(&turn).execute_agent(&turn, "tools", json!({"turn": n})).await.unwrap();
                assert!(outcome.is_success());
            }
        });
        std::fs::metadata(backing.closed()).unwrap().len()
    };
    let sizes: Vec<u64> = [100, 200, 200, 200].into_iter().map(size_after).collect();
    let (early, late) = (sizes[1] - sizes[0], sizes[3] - sizes[2]);
    println!("200 turns take {early} bytes after 100 turns, and {late} after 500");
    assert!(late < early + early / 5, "200 turns took {early} bytes after 100 turns, and {late} after 500");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steady_cost_the_last_page_of_a_long_thread_is_as_long_as_it_was_asked_for() {
    for backing in [Backing::Memory, Backing::sqlite()] {
        let island = Island::new(backing.open(Arc::new(SystemClock::new())));
        let (ada, thread) = (user("ada"), ThreadId::new("a-long-talk").unwrap());
        for _ in 0..100 {
            let turn = context_in(&ada, &thread);
            island.engine(&turn).execute_agent(&turn, "tools", json!(1)).await.unwrap();
        }
        let log = &island.ports().log;
        let head = log.thread_events(&ada, &thread, 0, 1).await.unwrap().unwrap().head;
        assert_eq!(head, 100 * 9);
        let page = log.thread_events(&ada, &thread, head - 5, 100).await.unwrap().unwrap();
        assert_eq!(
            page.events.iter().map(|event| event.seq).collect::<Vec<_>>(),
            (head - 4..=head).collect::<Vec<_>>()
        );
        assert!(words(&page.events).ends_with("}]"));
    }
}
