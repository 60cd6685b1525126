//! The log: every page of every shape, and damage that is noticed.

use insula_infra::{Append, Error, Payload};
use rusqlite::Connection;

use crate::support::{at, create, extend, folder, header, notes, run, scope, thread, whole};

/// Three runs that write to one thread in turn, in chunks of all sizes, 400 events in all.
async fn braided(backend: &insula_infra::Backend) -> Vec<(u64, usize)> {
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

#[tokio::test]
async fn every_page_of_a_thread_and_of_its_runs_is_what_was_written() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let log = braided(&backend).await;
    let ada = scope("ada");
    for after in [0, 1, 5, 62, 63, 64, 65, 127, 200, 390, 399, 400, 401, u64::MAX] {
        for limit in [0, 1, 2, 7, 64, 130, 1_000, usize::MAX] {
            let page =
                backend.log.thread_events(&ada, &thread("t"), after, limit).await.expect("reads").expect("there");
            let expected: Vec<_> = log.iter().map(|(seq, _)| *seq).filter(|seq| *seq > after).take(limit).collect();
            let found: Vec<_> = page.events.iter().map(|event| event.seq).collect();
            assert_eq!((found, page.head, page.oldest), (expected, 400, 1), "after {after}, limit {limit}");
            assert!(page.events.iter().all(|event| event.data.get() == event.seq.to_string()));
            for who in 0..3 {
                let id = run(&format!("r-{who}"));
                let page = backend.log.run_events(&ada, &id, after, limit).await.expect("reads").expect("there");
                let own = log.iter().filter(|(seq, by)| *seq > after && *by == who);
                let expected: Vec<_> = own.map(|(seq, _)| *seq).take(limit).collect();
                let found: Vec<_> = page.events.iter().map(|event| event.seq).collect();
                assert_eq!(found, expected, "run {who} after {after}, limit {limit}");
                assert!(page.events.iter().all(|event| event.header.run == id));
            }
        }
    }
}

/// Changes the file behind the backend's back.
fn tamper(folder: &tempfile::TempDir, sql: &str) {
    let connection = Connection::open(folder.path().join("insula.db")).expect("opens");
    assert_ne!(connection.execute(sql, []).expect("changes"), 0);
}

#[tokio::test]
async fn a_damaged_chunk_is_reported_with_its_file_and_place_and_never_returned() {
    for damage in [
        "UPDATE log SET body = CAST(replace(CAST(body AS TEXT), '2', '3') AS BLOB) WHERE pos = 2",
        "UPDATE log SET body = x'00' WHERE pos = 2",
        "UPDATE log SET count = 9 WHERE pos = 2",
        "UPDATE log SET thread_no = 9 WHERE pos = 2",
        "UPDATE log SET first_seq = 9 WHERE pos = 2",
        "DELETE FROM log WHERE pos = 2",
    ] {
        let folder = folder();
        let backend = at(&folder).open().expect("opens").into_backend();
        let one = header("ada", "t", "r");
        backend.queue.append(create(&one, notes(1, 1))).await.expect("appends");
        backend.queue.append(extend(&one, 1, notes(2, 1))).await.expect("appends");
        backend.queue.append(extend(&one, 2, notes(3, 1))).await.expect("appends");
        tamper(&folder, damage);
        let read = backend.log.thread_events(&scope("ada"), &thread("t"), 0, 9).await;
        let Err(Error::Corrupt { what, .. }) = &read else { panic!("{damage}: {read:?}") };
        assert!(what.contains("insula.db") && what.contains("event 2"), "{damage}: {what}");
    }
}

#[tokio::test]
async fn per_3_a_large_payload_is_stored_once_and_a_corrupted_one_is_not_returned() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let payload = Payload::new(vec![7_u8; 20_000]);
    for id in ["1", "2"] {
        let append = Append { payloads: vec![payload.clone()], ..whole(&header("ada", "t", id)) };
        backend.queue.append(append).await.expect("appends");
    }
    let read = || async { backend.log.payload(&scope("ada"), &payload.hash()).await };
    assert_eq!(read().await.expect("reads").as_ref(), Some(payload.bytes()));
    assert_eq!(backend.log.payload(&scope("bob"), &payload.hash()).await.expect("reads"), None);
    let connection = Connection::open(folder.path().join("insula.db")).expect("opens");
    let stored = connection.query_row("SELECT count(*) FROM payloads", [], |row| row.get(0));
    assert_eq!(stored, Ok(1));
    tamper(&folder, "UPDATE payloads SET bytes = zeroblob(20000)");
    assert!(matches!(read().await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn per_1_a_run_writes_rows_with_owner_thread_and_time() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    backend.queue.append(whole(&header("ada", "t-7", "r-7"))).await.expect("appends");
    let connection = Connection::open(folder.path().join("insula.db")).expect("opens");
    let row = connection.query_row(
        "SELECT o.tenant_id, o.user_id, t.thread_id, r.run_id, r.created_at, l.count FROM runs r
         JOIN owners o USING (owner_no) JOIN threads t USING (thread_no) JOIN log l USING (run_no)",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?)),
    );
    let text = str::to_owned;
    assert_eq!(row, Ok((text("acme"), text("ada"), text("t-7"), text("r-7"), 1_000, 2)));
}
