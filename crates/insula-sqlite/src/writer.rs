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
mod tests;
