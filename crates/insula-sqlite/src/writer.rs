//! The one thread that writes the main file.
//!
//! It takes everything that is queued, does it in one transaction, and tells everybody once that is durable. What arrives
//! meanwhile joins the next one. So a slow disk makes groups larger and not throughput smaller.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use insula_infra::{Error, LocalSignals};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{
    backend::Synchronous,
    error::{self, File, Stop},
    inbox::Inbox,
    transaction::{Memory, Tx},
    usage,
};

/// Pieces of work in one transaction at most.
const GROUP: usize = 4_096;

/// Pieces of work that may wait. Beyond it the disk is seconds behind, and a refusal tells the truth sooner.
const ROOM: usize = 65_536;

/// When a piece of work has to be safe from a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// Before whoever waits for it is told.
    AtOnce,
    /// With the next one that does: commits become durable in their order, so nothing that builds on it outlives it.
    WithTheNext,
}

/// A piece of work for the writer.
pub(crate) trait Job: Send {
    /// Does it, inside a transaction. May be called again if that transaction came to nothing.
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;

    /// What its commit waits for, where the file waits for the disk.
    fn lasts(&self) -> Lasts {
        Lasts::AtOnce
    }

    /// Tells whoever waits: it is durable, or why not.
    fn settle(self: Box<Self>, outcome: Result<(), Error>, signals: &LocalSignals);
}

/// How much was written since the file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Transactions that changed something and became durable.
    pub commits: u64,
    /// Appends in them.
    pub appends: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    appends: AtomicU64,
}

/// The handle on the thread. Dropping the last one waits until everything queued is durable.
pub(crate) struct Writer {
    inbox: Arc<Inbox<Box<dyn Job>>>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        connection: Connection,
        file: File,
        signals: LocalSignals,
        synchronous: Synchronous,
    ) -> Result<Self, Error> {
        let inbox = Arc::new(Inbox::new(ROOM));
        let counters = Arc::new(Counters::default());
        let (memory, now) = (Memory::default(), synchronous);
        let mut desk = Desk { connection, file, signals, counters: Arc::clone(&counters), memory, synchronous, now };
        let name = "insula-sqlite-writer".to_owned();
        let door = Door(Arc::clone(&inbox));
        let thread = std::thread::Builder::new().name(name).spawn(move || desk.work(&door)).map_err(no_thread)?;
        Ok(Self { inbox, counters, thread: Mutex::new(Some(thread)) })
    }

    /// Queues a piece of work; gives an error when there is no room for it.
    pub(crate) fn send(&self, job: Box<dyn Job>) -> Result<(), Error> {
        self.inbox.put(job).map_err(|_| Error::Unavailable { operation: "write", component: WRITER, source: None })
    }

    /// Does `work` in the next transaction and waits until it is durable.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    {
        self.ask(work, Lasts::AtOnce).await
    }

    /// As [`Writer::call`], for work that may be lost together with the machine's power as long as nothing was built on it: every
    /// process and every other connection sees it at once.
    pub(crate) async fn call_ahead<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    {
        self.ask(work, Lasts::WithTheNext).await
    }

    async fn ask<T, F>(&self, work: F, lasts: Lasts) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        self.send(Box::new(Call { work, answer: None, sender, lasts }))?;
        receiver.await.unwrap_or(Err(Error::Unavailable { operation: "write", component: WRITER, source: None }))
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            commits: self.counters.commits.load(Ordering::Relaxed),
            appends: self.counters.appends.load(Ordering::Relaxed),
        }
    }
}

const WRITER: &str = "the SQLite writer";

pub(crate) fn no_thread(error: std::io::Error) -> Error {
    Error::Unavailable { operation: "start a thread", component: "the machine", source: Some(Arc::new(error)) }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the SQLite writer panicked");
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer({:?})", self.stats())
    }
}

/// Closes the inbox when the thread ends, however it ends: those who wait are answered, and nobody waits in vain.
struct Door(Arc<Inbox<Box<dyn Job>>>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.close();
        drop(self.0.take(usize::MAX));
    }
}

/// What the thread works with.
struct Desk {
    connection: Connection,
    file: File,
    signals: LocalSignals,
    counters: Arc<Counters>,
    memory: Memory,
    /// What commits wait for.
    synchronous: Synchronous,
    /// What the connection was told last.
    now: Synchronous,
}

impl Desk {
    fn work(&mut self, door: &Door) {
        loop {
            let group = door.0.take(GROUP);
            if group.is_empty() {
                return;
            }
            self.commit(group);
        }
    }

    /// All in one transaction. If one of them breaks it, each gets its own, so that only the culprit fails.
    fn commit(&mut self, mut group: VecDeque<Box<dyn Job>>) {
        match self.attempt(&mut group) {
            Err(error) if group.len() > 1 && !error::is_shared(&error) => {
                for job in group {
                    let mut alone = VecDeque::from([job]);
                    let outcome = self.attempt(&mut alone);
                    self.settle(alone, outcome);
                }
            }
            outcome => self.settle(group, outcome),
        }
    }

    fn attempt(&mut self, group: &mut VecDeque<Box<dyn Job>>) -> rusqlite::Result<()> {
        let before = self.connection.total_changes();
        let ahead = group.iter().all(|job| job.lasts() == Lasts::WithTheNext);
        self.wait_for(if ahead { Synchronous::Normal } else { self.synchronous })?;
        let outcome = transact(&self.connection, &self.file, &mut self.memory, group);
        if outcome.is_err() {
            self.memory.forget();
            // After some errors, a full disk for one, SQLite has rolled back already.
            if !self.connection.is_autocommit() {
                self.connection.execute_batch("ROLLBACK")?;
            }
        } else if self.connection.total_changes() > before {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    /// Says what the next commit waits for.
    fn wait_for(&mut self, wanted: Synchronous) -> rusqlite::Result<()> {
        if self.now != wanted {
            self.connection.pragma_update(None, "synchronous", wanted.as_str())?;
            self.now = wanted;
        }
        Ok(())
    }

    fn settle(&self, group: VecDeque<Box<dyn Job>>, outcome: rusqlite::Result<()>) {
        let outcome = outcome.map_err(|error| self.file.error("write", error));
        for job in group {
            job.settle(outcome.clone(), &self.signals);
        }
    }
}

fn transact(
    connection: &Connection,
    file: &File,
    memory: &mut Memory,
    group: &mut VecDeque<Box<dyn Job>>,
) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.raw_execute()?;
    let mut tx = Tx::new(connection, file, memory)?;
    for job in group {
        job.run(&mut tx)?;
    }
    usage::write(&mut tx)?;
    drop(tx);
    connection.prepare_cached("COMMIT")?.raw_execute()?;
    Ok(())
}

/// A closure as a job.
struct Call<T, F> {
    work: F,
    answer: Option<Result<T, Error>>,
    sender: oneshot::Sender<Result<T, Error>>,
    lasts: Lasts,
}

impl<T, F> Job for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> Result<T, Stop> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.answer = Some(match (self.work)(tx) {
            Ok(answer) => Ok(answer),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Failed(error)) => return Err(error),
        });
        Ok(())
    }

    fn lasts(&self) -> Lasts {
        self.lasts
    }

    fn settle(self: Box<Self>, outcome: Result<(), Error>, _: &LocalSignals) {
        let Self { answer, sender, .. } = *self;
        let missing = || Err(Error::Unavailable { operation: "write", component: WRITER, source: None });
        // Whoever has gone away does not need the answer.
        let _gone = sender.send(outcome.and_then(|()| answer.unwrap_or_else(missing)));
    }
}

impl Counters {
    pub(crate) fn count_append(&self) {
        self.appends.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
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
        let limit = move |tx: &mut Tx<'_>| {
            Ok(tx.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?)
        };
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
}
