//! A `redis-server` of a test's own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::ask;

/// What the server still knows after it was killed and started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing: it comes back empty.
    Nothing,
    /// Every write that it has answered, from its append-only file.
    Writes,
}

/// How often it is looked whether the server answers, and how long is waited in between: 20 s in all.
const STARTING: (u32, Duration) = (2_000, Duration::from_millis(10));

/// A server of one's own, made by [`Redis::private`](super::Redis::private).
#[derive(Debug)]
pub struct PrivateRedis {
    folder: TempDir,
    address: SocketAddr,
    keeping: Keeping,
    process: Option<Process>,
}

impl PrivateRedis {
    pub(super) async fn start(keeping: Keeping) -> Self {
        let folder = tempfile::Builder::new().prefix("insula-redis-").tempdir().expect("a temporary folder");
        let mut redis = Self { folder, address: free_address(), keeping, process: None };
        redis.start_again().await;
        redis
    }

    /// The address, which stays the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Host and port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Ends it without a chance to tidy up, and returns when it is gone.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    ///
    /// # Panics
    /// When it is not running.
    pub fn freeze(&self) {
        self.process().signal(Signal::STOP);
    }

    /// Lets it go on where it was stopped.
    ///
    /// # Panics
    /// When it is not running.
    pub fn thaw(&self) {
        self.process().signal(Signal::CONT);
    }

    /// Kills it if it runs, and starts it on the same port with what it has kept. Returns when it answers.
    ///
    /// # Panics
    /// When it does not begin to answer.
    pub async fn start_again(&mut self) {
        self.kill();
        self.process = Some(Process::start(command(self.folder.path(), self.address, self.keeping)));
        for _ in 0..STARTING.0 {
            // `LOADING …` and `Connection refused` are the answers of one that is not ready.
            if ask(&self.url(), &["PING"]).is_ok_and(|answer| answer == "+PONG") {
                return;
            }
            tokio::time::sleep(STARTING.1).await;
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        panic!("redis-server does not answer on {}:\n{log}", self.address);
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the server was killed, and not started again")
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port is free");
    listener.local_addr().expect("a bound socket has an address")
}

fn command(folder: &Path, address: SocketAddr, keeping: Keeping) -> Command {
    // Linux ends it with us, however we end.
    let mut command = if cfg!(target_os = "linux") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server"]);
        command
    } else {
        Command::new("redis-server")
    };
    let appends = if keeping == Keeping::Writes { "yes" } else { "no" };
    command.args(["--save", "", "--appendonly", appends, "--logfile", "log", "--bind", "127.0.0.1"]);
    command.arg("--port").arg(address.port().to_string()).arg("--dir").arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A process and the thread that waits for it. Linux's signal at the parent's death comes already when the *thread* that
/// started the process ends, so that thread must be one that does not.
#[derive(Debug)]
struct Process {
    id: Pid,
    ended: mpsc::Receiver<()>,
}

impl Process {
    fn start(mut command: Command) -> Self {
        let (started, is_started) = mpsc::channel();
        let (ends, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = command.spawn().expect("redis-server can be started: is it installed?");
            // Whoever started it waits for this, and for the end, for as long as it wants to know.
            let _ = started.send(Pid::from_child(&child));
            let _ = child.wait();
            let _ = ends.send(());
        });
        Self { id: is_started.recv().expect("redis-server can be started: is it installed?"), ended }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.id, signal).expect("a process of ours takes our signals");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself was waited for, and its number may be somebody else's now.
        if self.ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
            let _ = kill_process(self.id, Signal::KILL);
            let _ = self.ended.recv();
        }
    }
}
