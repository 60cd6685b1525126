//! A real process that is killed at any of its writes, and another that goes on.
//!
//! One process tells one story and ends itself with `SIGKILL` at its n-th write, before or after it; another opens the same
//! file once the lease is over. What was really done is kept by a third process, which no kill reaches.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use insula_context::Clock;
use insula_engine::AgentThreads;
use insula_infra::Backend;
use insula_sqlite::{SqliteBackend, Synchronous};
use serde::{Deserialize, Serialize};

use super::{
    book::{self, Book},
    cases::{Case, LEASE, cases},
    seen::Seen,
    tap::{Fate, Watch, Write, tap},
};
use crate::support::ShiftedClock;

const ORDERS: &str = "INSULA_TEST_ORDERS";
const MYSELF: &str = "durability::points::a_process_that_is_killed_at_any_write_changes_nothing";

/// How many stories are told at once.
const AT_ONCE: usize = 8;

/// Longer than any of these stories takes, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process of this test is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Orders {
    KeepTheBook { socket: PathBuf },
    Tell { story: Story, kill: Option<Kill> },
}

/// Where a story is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Story {
    case: String,
    /// Where its database is. Its name is that of the story's page in the book.
    folder: PathBuf,
    socket: PathBuf,
}

/// When the process ends itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Kill {
    /// At this write, counted from 1.
    write: usize,
    when: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum When {
    Before,
    After,
}

impl Orders {
    /// Starts a process that follows them.
    fn start(&self) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", MYSELF, "--test-threads=1"]).env(ORDERS, serde_json::to_string(self).unwrap());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Process(command.spawn().unwrap())
    }

    async fn follow(self) {
        match self {
            Self::KeepTheBook { socket } => book::keep(&socket),
            Self::Tell { story, kill } => story.tell_until(kill).await,
        }
    }
}

/// A process of this test. It does not outlive the test, also when that fails.
struct Process(Child);

impl Process {
    /// Whether it killed itself; `None` when it does neither that nor end.
    async fn end(mut self) -> Option<bool> {
        use std::os::unix::process::ExitStatusExt;
        let began = std::time::Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success() || status.signal() == Some(9), "{status}");
                return Some(!status.success());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _code = self.0.wait();
    }
}

/// Ends its own process at a write.
struct Killer {
    kill: Option<Kill>,
    writes: AtomicUsize,
}

impl Watch for Killer {
    fn fate(&self, write: &Write) -> Fate {
        let n = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        match self.kill {
            Some(kill) if kill.write == n => match (kill.when, write) {
                // What a claim has taken is known only when it is done.
                (When::After, _) | (_, Write::Claim(..)) => Fate::LostAfter,
                (When::Before, _) => Fate::LostBefore,
            },
            _ => Fate::GoOn,
        }
    }

    fn lose(&self) {
        let _never_returns = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

impl Story {
    fn new(case: Case, folder: &Path, socket: &Path, kill: Option<Kill>) -> Self {
        let at = kill.map_or_else(|| "whole".to_owned(), |kill| format!("{:?}-{}", kill.when, kill.write));
        let folder = folder.join(format!("{}-{at}", case.name()));
        std::fs::create_dir(&folder).unwrap();
        Self { case: case.name(), folder, socket: socket.to_owned() }
    }

    fn case(&self) -> Case {
        Case::named(&self.case).unwrap()
    }

    fn backend(&self, clock: Arc<dyn Clock>) -> Backend {
        let file = SqliteBackend::at(self.folder.join("insula.db")).clock(clock);
        file.synchronous(Synchronous::Normal).open().unwrap().into_backend()
    }

    fn book(&self) -> Book {
        let story = self.folder.file_name().unwrap().to_str().unwrap().to_owned();
        Book::Elsewhere { socket: self.socket.clone(), story }
    }

    /// Tells it from the beginning, and leaves behind how many writes that took.
    async fn tell_until(&self, kill: Option<Kill>) {
        let killer = Arc::new(Killer { kill, writes: AtomicUsize::new(0) });
        let backend = tap(&self.backend(ShiftedClock::new()), Arc::clone(&killer) as _);
        self.tell(backend).await;
        std::fs::write(self.folder.join("writes"), killer.writes.load(Ordering::SeqCst).to_string()).unwrap();
    }

    async fn tell(&self, backend: Backend) {
        let book = self.book();
        let factory = self.case().engine(backend, &book, AgentThreads::Own(1));
        self.case().tell(&factory, &book).await;
        factory.shutdown(Duration::ZERO).await;
    }

    /// Tells it undisturbed, in a process of its own: how many writes it takes, and what comes of it.
    async fn whole(&self) -> (usize, Seen) {
        let killed = Orders::Tell { story: self.clone(), kill: None }.start().end().await;
        assert_eq!(killed, Some(false), "{} does not end undisturbed", self.case);
        let writes = std::fs::read_to_string(self.folder.join("writes")).unwrap().parse().unwrap();
        (writes, Seen::of(&self.backend(ShiftedClock::new()), &self.book()).await)
    }

    /// Kills one process and goes on in this one, when the lease is over. Says whether the process was killed, and what is
    /// wrong.
    async fn killed(&self, kill: Kill, whole: &Seen) -> (bool, Vec<String>) {
        let killed = Orders::Tell { story: self.clone(), kill: Some(kill) }.start().end().await;
        let backend = self.backend(ShiftedClock::ahead(LEASE * 2));
        let told = tokio::time::timeout(PATIENCE, self.tell(backend.clone())).await;
        let faults = match (killed, told) {
            (None, _) => vec!["the process neither ended nor was killed".to_owned()],
            (_, Ok(())) => whole.differences(&Seen::of(&backend, &self.book()).await),
            (_, Err(_)) => vec![format!("it does not end; {:?}", Seen::of(&backend, &self.book()).await)],
        };
        std::fs::remove_dir_all(&self.folder).unwrap();
        let name = |fault| format!("{} killed {kill:?}: {fault}", self.case);
        (killed == Some(true), faults.into_iter().map(name).collect())
    }
}

fn kills(writes: usize) -> impl Iterator<Item = Kill> {
    (1..=writes).flat_map(|write| [When::Before, When::After].map(|when| Kill { write, when }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_at_any_write_changes_nothing() {
    if let Ok(orders) = std::env::var(ORDERS) {
        return serde_json::from_str::<Orders>(&orders).unwrap().follow().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let (folder, socket) = (folder.path(), folder.path().join("book"));
    let _keeper = Orders::KeepTheBook { socket: socket.clone() }.start();
    crate::support::until("the book is open", || socket.exists()).await;
    let whole = cases().into_iter().map(|case| {
        let story = Story::new(case, folder, &socket, None);
        async move { (case, story.whole().await) }
    });
    let whole: Vec<(Case, (usize, Seen))> = stream::iter(whole).buffer_unordered(AT_ONCE).collect().await;
    let points = whole.iter().flat_map(|(case, (writes, seen))| kills(*writes).map(move |kill| (*case, kill, seen)));
    let killing = points.map(|(case, kill, seen)| {
        let socket = &socket;
        async move { Story::new(case, folder, socket, Some(kill)).killed(kill, seen).await }
    });
    let ends: Vec<(bool, Vec<String>)> = stream::iter(killing).buffer_unordered(AT_ONCE).collect().await;
    let killed = ends.iter().filter(|(killed, _)| *killed).count();
    println!("crash points by SIGKILL: {killed} of {} in {} runs", ends.len(), whole.len());
    let faults: Vec<String> = ends.into_iter().flat_map(|(_, faults)| faults).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(killed > 200, "only {killed} processes were killed");
}
