//! The threads that read the main file, each with a connection of its own. They see what is durable, and never wait for
//! the writer.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use insula_infra::Error;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{connect::Main, error::Stop, inbox::Inbox, writer::no_thread};

/// Reads that may wait.
const ROOM: usize = 65_536;

const READERS: &str = "the SQLite readers";

type Read = Box<dyn FnOnce(&Connection) + Send>;

/// The handle on the threads.
pub(crate) struct Readers {
    inbox: Arc<Inbox<Read>>,
    main: Main,
    threads: Mutex<Vec<JoinHandle<Connection>>>,
}

impl Readers {
    /// Starts `count` threads.
    pub(crate) fn start(main: Main, count: usize) -> Result<Self, Error> {
        let readers = Self { inbox: Arc::new(Inbox::new(ROOM)), main, threads: Mutex::default() };
        for _ in 0..count.max(1) {
            readers.add()?;
        }
        Ok(readers)
    }

    fn add(&self) -> Result<(), Error> {
        let (connection, inbox) = (self.main.reader()?, Arc::clone(&self.inbox));
        let name = "insula-sqlite-reader".to_owned();
        let thread = std::thread::Builder::new().name(name).spawn(move || work(connection, &inbox));
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread.map_err(no_thread)?);
        Ok(())
    }

    /// Reads in one snapshot.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Stop> + Send + 'static,
    {
        let gone = || Error::Unavailable { operation: "read", component: READERS, source: None };
        let (sender, receiver) = oneshot::channel();
        let job: Read = Box::new(move |connection| {
            if !sender.is_closed() {
                let _gone = sender.send(snapshot(connection, read));
            }
        });
        self.inbox.put(job).map_err(|_| gone())?;
        let outcome = receiver.await.map_err(|_| gone())?;
        outcome.map_err(|stop| self.main.file.stop("read", stop))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.inbox.close();
        for thread in self.threads.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            match thread.join() {
                Ok(connection) => drop(connection),
                Err(_) => tracing::error!("a reader of the SQLite file panicked"),
            }
        }
    }
}

/// Gives its connection back at the end: two that are closed at the same moment each take the other for the last one, and
/// neither tidies up.
fn work(connection: Connection, inbox: &Inbox<Read>) -> Connection {
    while let Some(read) = inbox.take(1).pop_front() {
        if catch_unwind(AssertUnwindSafe(|| read(&connection))).is_err() {
            tracing::error!("a read of the SQLite file panicked");
        }
        // After an error or a panic within the snapshot.
        if !connection.is_autocommit() && connection.execute_batch("ROLLBACK").is_err() {
            break;
        }
    }
    connection
}

fn snapshot<T>(connection: &Connection, read: impl FnOnce(&Connection) -> Result<T, Stop>) -> Result<T, Stop> {
    connection.prepare_cached("BEGIN")?.raw_execute()?;
    let value = read(connection)?;
    connection.prepare_cached("COMMIT")?.raw_execute()?;
    Ok(value)
}
