//! The log: every page of every shape, over forks, and damage that is noticed.

use insula_context::Timestamp;
use insula_infra::{Append, Backend, Error, Event, Fork, Payload};

use crate::story::{create, end, extend, header, lease, notes, one, run, scope, tamper, thread, whole};

/// Three runs that write to one thread in turn, in chunks of all sizes, 400 events in all.
async fn braided(backend: &Backend) -> Vec<(u64, usize)> {
    let headers = [0, 1, 2].map(|n| header("ada", "t", &format!("r-{n}")));
    let mut written = [0; 3];
    let mut log = Vec::new();
    for header in &headers {
        backend.queue.append(create(header, Vec::new())).await.expect("creates");
    }
    for step in 0_u64.. {
        let (who, count) = ((step * step % 7 % 3) as usize, (1 + step * 5 % 11).min(400 - log.len() as u64));
        if count == 0 {
            break;
        }
        let append = extend(&headers[who], written[who], notes(log.len() as u64 + 1, count));
        backend.queue.append(append).await.expect("appends");
        written[who] += count;
        let first = log.len() as u64 + 1;
        log.extend((first..first + count).map(|seq| (seq, who)));
    }
    log
}

fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn every_page_of_a_thread_and_of_its_runs_is_what_was_written() {
    let (_database, backend) = one().await;
    let log = braided(&backend).await;
    let ada = scope("ada");
    for after in [0, 1, 5, 62, 63, 64, 65, 127, 200, 390, 399, 400, 401, u64::MAX] {
        for limit in [0, 1, 2, 7, 64, 130, 1_000, usize::MAX] {
            let page =
                backend.log.thread_events(&ada, &thread("t"), after, limit).await.expect("reads").expect("there");
            let expected: Vec<_> = log.iter().map(|(seq, _)| *seq).filter(|seq| *seq > after).take(limit).collect();
            let found = seqs(&page.events);
            assert_eq!((found, page.head, page.oldest), (expected, 400, 1), "after {after}, limit {limit}");
            assert!(page.events.iter().all(|event| event.data.get() == event.seq.to_string()));
            for who in 0..3 {
                let id = run(&format!("r-{who}"));
                let page = backend.log.run_events(&ada, &id, after, limit).await.expect("reads").expect("there");
                let own = log.iter().filter(|(seq, by)| *seq > after && *by == who);
                let expected: Vec<_> = own.map(|(seq, _)| *seq).take(limit).collect();
                assert_eq!(seqs(&page.events), expected, "run {who} after {after}, limit {limit}");
                assert!(page.events.iter().all(|event| event.header.run == id));
            }
        }
    }
    let journal = backend.queue.journal(&lease(&header("ada", "t", "r-1"))).await.expect("reads");
    assert_eq!(journal.len(), log.iter().filter(|(_, by)| *by == 1).count());
}

#[tokio::test]
async fn a_run_of_more_chunks_than_are_read_at_once_is_read_whole_and_in_pages() {
    let (_database, backend) = one().await;
    let (long, other) = (header("ada", "t", "long"), header("ada", "t", "other"));
    backend.queue.append(create(&long, Vec::new())).await.expect("creates");
    backend.queue.append(create(&other, Vec::new())).await.expect("creates");
    let commits: Vec<_> = (0..600)
        .flat_map(|n| [(&long, n), (&other, n)])
        .map(|(of, n)| backend.queue.append(extend(of, n, notes(n + 1, 1))))
        .collect();
    for commit in commits {
        commit.await.expect("commits");
    }
    let page = backend.log.run_events(&scope("ada"), &run("long"), 0, 9_999).await.expect("reads").expect("there");
    let said: Vec<_> = page.events.iter().map(|event| event.data.get().to_owned()).collect();
    assert_eq!(said, (1..=600).map(|n| n.to_string()).collect::<Vec<_>>());
    let (mut after, mut found) = (0, Vec::new());
    loop {
        let page = backend.log.run_events(&scope("ada"), &run("long"), after, 77).await.expect("reads").expect("there");
        let Some(last) = page.events.last() else { break };
        after = last.seq;
        found.extend(seqs(&page.events));
    }
    assert_eq!(found, seqs(&page.events));
}

/// `b` begins with two chunks of `a` and a half, `c` with all of `b` but its last event.
async fn forked(backend: &Backend) {
    let ada = scope("ada");
    let of_a = header("ada", "a", "of-a");
    backend.queue.append(create(&of_a, notes(1, 2))).await.expect("creates");
    backend.queue.append(extend(&of_a, 2, notes(3, 2))).await.expect("appends");
    backend.queue.append(extend(&of_a, 4, notes(5, 3))).await.expect("appends");
    let fork = |from: &str, seq| Fork { thread_id: thread(from), seq };
    let at = Timestamp::from_micros(9);
    backend.runs.fork_thread(&ada, &fork("a", 6), &thread("b"), at).await.expect("forks").expect("there");
    backend.queue.append(create(&header("ada", "b", "of-b"), notes(7, 3))).await.expect("creates");
    backend.runs.fork_thread(&ada, &fork("b", 8), &thread("c"), at).await.expect("forks").expect("there");
    backend.queue.append(create(&header("ada", "c", "of-c"), notes(9, 2))).await.expect("creates");
}

#[tokio::test]
async fn every_page_over_two_forks_is_in_one_piece_and_names_who_wrote_it() {
    let (_database, backend) = one().await;
    forked(&backend).await;
    for after in 0..12 {
        for limit in [0, 1, 2, 3, 5, 99] {
            let page = backend.log.thread_events(&scope("ada"), &thread("c"), after, limit).await.expect("reads");
            let page = page.expect("there");
            let expected: Vec<_> = (after + 1..=10).take(limit).collect();
            assert_eq!((seqs(&page.events), page.head), (expected, 10), "after {after}, limit {limit}");
            for event in &page.events {
                assert_eq!(event.data.get(), event.seq.to_string());
                let by = ["of-a", "of-b", "of-c"][usize::from(event.seq > 6) + usize::from(event.seq > 8)];
                assert_eq!(event.header.run.as_str(), by, "event {}", event.seq);
                assert_eq!(event.header.thread.as_str(), &by[3..], "event {}", event.seq);
            }
        }
    }
    let short = Fork { thread_id: thread("c"), seq: 11 };
    let forked = backend.runs.fork_thread(&scope("ada"), &short, &thread("d"), Timestamp::from_micros(9)).await;
    assert_eq!(forked.expect("answers"), None, "it has fewer events");
}

#[tokio::test]
async fn a_fork_whose_beginning_is_gone_is_corrupt_where_it_is_needed() {
    let (database, backend) = one().await;
    forked(&backend).await;
    tamper(&database, "DELETE FROM insula.threads WHERE thread_id = 'a'").await;
    let read = |after| {
        let (log, ada) = (backend.log.clone(), scope("ada"));
        async move { log.thread_events(&ada, &thread("c"), after, 9).await }
    };
    assert!(matches!(read(5).await, Err(Error::Corrupt { .. })));
    assert_eq!(read(6).await.expect("reads").expect("there").events.len(), 4);
}

#[tokio::test]
async fn a_damaged_chunk_is_reported_and_never_returned_to_readers_nor_to_who_resumes_the_run() {
    for damage in [
        "UPDATE insula.log SET body = overlay(body PLACING '3' FROM 4) WHERE first_seq = 2",
        "UPDATE insula.log SET body = '' WHERE first_seq = 2",
        "UPDATE insula.log SET count = 9 WHERE first_seq = 2",
        "UPDATE insula.log SET thread_no = 9 WHERE first_seq = 2",
        "UPDATE insula.log SET first_seq = 9 WHERE first_seq = 2",
        "DELETE FROM insula.log WHERE first_seq = 2",
        "DELETE FROM insula.log WHERE first_seq = 4",
        "DELETE FROM insula.log",
    ] {
        let (database, backend) = one().await;
        let of = header("ada", "t", "r");
        backend.queue.append(create(&of, notes(1, 1))).await.expect("appends");
        backend.queue.append(extend(&of, 1, notes(2, 2))).await.expect("appends");
        backend.queue.append(extend(&of, 3, notes(4, 1))).await.expect("appends");
        tamper(&database, damage).await;
        let read = backend.log.thread_events(&scope("ada"), &thread("t"), 0, 9).await;
        let Err(Error::Corrupt { what, .. }) = &read else { panic!("{damage}: {read:?}") };
        assert!(what.contains(database.name()) && what.contains("event"), "{damage}: {what}");
        let journal = backend.queue.journal(&lease(&of)).await;
        assert!(matches!(journal, Err(Error::Corrupt { .. })), "{damage}: {journal:?}");
        let recorded = backend.queue.recorded(&scope("ada"), &run("r")).await;
        assert!(matches!(recorded, Err(Error::Corrupt { .. })), "{damage}: {recorded:?}");
    }
}

#[tokio::test]
async fn a_large_payload_is_stored_once_and_a_corrupted_one_is_not_returned() {
    let (database, backend) = one().await;
    let payload = Payload::new(vec![7_u8; 20_000]);
    for id in ["1", "2"] {
        let append = Append { payloads: vec![payload.clone()], ..whole(&header("ada", "t", id)) };
        backend.queue.append(append).await.expect("appends");
    }
    let read = || async { backend.log.payload(&scope("ada"), &payload.hash()).await };
    assert_eq!(read().await.expect("reads").as_ref(), Some(payload.bytes()));
    assert_eq!(backend.log.payload(&scope("bob"), &payload.hash()).await.expect("reads"), None);
    assert_eq!(crate::story::rows(&database).await["payloads"], 1);
    tamper(&database, "UPDATE insula.payloads SET bytes = 'other'").await;
    assert!(matches!(read().await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn a_damaged_run_is_reported_with_its_name_and_the_others_are_read() {
    let (database, backend) = one().await;
    for id in ["one", "two"] {
        backend.queue.append(create(&header("ada", "t", id), notes(1, 1))).await.expect("creates");
    }
    tamper(&database, "UPDATE insula.runs SET status = 'gone fishing' WHERE run_id = 'one'").await;
    let read = backend.runs.run(&scope("ada"), &run("one")).await;
    let Err(Error::Corrupt { what, .. }) = &read else { panic!("{read:?}") };
    assert!(what.contains("run one"), "{what}");
    assert!(backend.runs.run(&scope("ada"), &run("two")).await.expect("reads").is_some());
    backend.queue.append(end(&header("ada", "t", "two"), 1)).await.expect("ends");
}
