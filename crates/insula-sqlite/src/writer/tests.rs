use std::time::Duration;

use insula_context::SystemClock;
use insula_infra::{StateKey, StateSpace, StateStore};
use serde_json::value::RawValue;

use super::*;
use crate::{Synchronous, connect::Main, readers::Readers, store::Store};

fn store(folder: &tempfile::TempDir) -> Store {
    waiting_for(folder, Synchronous::Normal)
}

fn waiting_for(folder: &tempfile::TempDir, synchronous: Synchronous) -> Store {
    let path = folder.path().join("insula.db");
    let (file, busy) = (File::new(&path), Duration::from_secs(1));
    let main = Main { path, file: file.clone(), synchronous, busy };
    let connection = main.writer().expect("opens");
    let writer = Writer::start(connection, file.clone(), LocalSignals::new(), synchronous).expect("starts");
    let readers = Readers::start(main, 1).expect("starts");
    Store { file, clock: Arc::new(SystemClock::new()), writer, readers, deleting: Default::default() }
}

async fn set_page_limit(store: &Store, pages: u32) {
    let limit =
        move |tx: &mut Tx<'_>| Ok(tx.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?);
    store.writer.call(limit).await.expect("sets the limit");
}

#[tokio::test]
async fn a_full_disk_fails_its_group_by_name_keeps_what_was_acknowledged_and_goes_on_afterwards() {
    #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
    let ada = insula_context::ScopeIssuer::new().issue("t", "ada").expect("valid");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = store(&folder);
    let key = |n: usize| StateKey { space: StateSpace::User, name: n.to_string() };
    let large = || RawValue::from_string(format!("\"{}\"", "x".repeat(20_000))).map(Arc::from).expect("JSON");
    set_page_limit(&store, 100).await;
    let mut kept = 0;
    let full = loop {
        match store.put(&ada, &key(kept), large()).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&full, Error::DiskFull { file, .. } if file.ends_with("insula.db")), "{full:?}");
    assert!(kept > 0 && full.is_transient());
    set_page_limit(&store, 1_000_000).await;
    assert_eq!(store.put(&ada, &key(kept), large()).await.expect("there is room again"), 1);
    for n in 0..=kept {
        assert!(store.get(&ada, &key(n)).await.expect("reads").is_some(), "{n} of {kept}");
    }
}

#[tokio::test]
async fn one_who_breaks_the_transaction_fails_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = store(&folder);
    let insert = |sql: &'static str| store.writer.call(move |tx| Ok(tx.connection.execute(sql, [])?));
    let (held, open) = std::sync::mpsc::channel::<()>();
    let open = Mutex::new(open);
    // Holds the writer until all three wait for it, so that they become one group.
    let gate = store.writer.call(move |_| Ok(open.lock().unwrap_or_else(PoisonError::into_inner).recv().is_err()));
    let release = async move { drop(held) };
    let (_, one, broken, other, ()) = tokio::join!(
        gate,
        insert("INSERT INTO workers VALUES ('a', 1)"),
        insert("INSERT INTO workers VALUES (NULL, 1)"),
        insert("INSERT INTO workers VALUES ('b', 1)"),
        release
    );
    assert_eq!((one.expect("kept"), other.expect("kept")), (1, 1));
    assert!(matches!(broken, Err(Error::Database { .. })), "{broken:?}");
}

/// What the commit that it is in waits for, as SQLite says it: 1 is the operating system, 2 the disk.
fn level(tx: &mut Tx<'_>) -> Result<i64, Stop> {
    Ok(tx.connection.pragma_query_value(None, "synchronous", |row| row.get(0))?)
}

#[tokio::test]
async fn only_what_may_be_lost_with_the_power_does_not_wait_for_the_disk_and_only_by_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = waiting_for(&folder, Synchronous::Full);
    let writer = &store.writer;
    assert_eq!(writer.call(level).await.expect("answers"), 2);
    assert_eq!(writer.call_ahead(level).await.expect("answers"), 1);
    assert_eq!(writer.call(level).await.expect("answers"), 2);
    // While the writer is held up, both wait for the same transaction.
    let (sender, open) = std::sync::mpsc::channel::<()>();
    let open = Mutex::new(open);
    let held = writer.call(move |_| Ok(open.lock().unwrap_or_else(PoisonError::into_inner).recv().is_err()));
    let both = async {
        let both = async { tokio::join!(writer.call_ahead(level), writer.call(level)) };
        let mut both = std::pin::pin!(both);
        assert!(is_pending(&mut both).await, "both are queued and neither is done");
        drop(sender);
        both.await
    };
    let (_, (ahead, lasting)) = tokio::join!(held, both);
    assert_eq!((ahead.expect("answers"), lasting.expect("answers")), (2, 2));
}

/// Polls once, and says whether it is still pending.
async fn is_pending(future: &mut std::pin::Pin<&mut impl Future>) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}
