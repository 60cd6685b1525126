//! Opening the file, and all ports on it together.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use insula_context::{Clock, SystemClock};
use insula_infra::{Backend, Error, LocalSignals, MemoryBackend};

use crate::{
    Stats,
    connect::Main,
    database::{Databases, Limits},
    error::File,
    readers::Readers,
    store::Store,
    writer::Writer,
};

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Until the disk has it: what is acknowledged survives a loss of power.
    #[default]
    Full,
    /// Until the operating system has it: what is acknowledged survives a crash of the process, and a loss of power may
    /// take the last commits. The file stays whole either way.
    Normal,
}

impl Synchronous {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "FULL",
            Self::Normal => "NORMAL",
        }
    }
}

/// How to open a file. Made by [`SqliteBackend::at`].
#[derive(Debug, Clone)]
pub struct Options {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    synchronous: Synchronous,
    busy: Duration,
    readers: usize,
    databases: Option<PathBuf>,
    limits: Limits,
}

impl Options {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            clock: Arc::new(SystemClock::new()),
            synchronous: Synchronous::Full,
            busy: Duration::from_secs(5),
            readers: 2,
            databases: None,
            limits: Limits::default(),
        }
    }

    /// Another clock. Leases, alarms, windows and the cache's times to live are counted by it alone.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// What a commit waits for; [`Synchronous::Full`] unless said otherwise.
    #[must_use]
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// How long to wait for another process that writes to a file; 5 s unless said otherwise.
    #[must_use]
    pub fn busy_timeout(self, busy: Duration) -> Self {
        Self { busy, ..self }
    }

    /// How many threads read the main file; 2 unless said otherwise.
    #[must_use]
    pub fn readers(self, readers: usize) -> Self {
        Self { readers, ..self }
    }

    /// The folder of the users' own databases, one file each; the main file's name with `.users` behind it unless said
    /// otherwise. It is made when the first one is opened.
    #[must_use]
    pub fn databases(self, folder: impl Into<PathBuf>) -> Self {
        Self { databases: Some(folder.into()), ..self }
    }

    /// How many sessions on users' databases may be open at once, over all users (32 unless said otherwise), and how long
    /// to wait for one (5 s).
    #[must_use]
    pub fn pool(mut self, sessions: usize, timeout: Duration) -> Self {
        (self.limits.sessions, self.limits.timeout) = (sessions.max(1), timeout);
        self
    }

    /// How many of them one user may have; a quarter of the pool, but at least one, unless said otherwise. So a user who
    /// takes all that is given leaves the others theirs.
    #[must_use]
    pub fn sessions_per_user(mut self, sessions: usize) -> Self {
        self.limits.sessions_per_user = Some(sessions.max(1));
        self
    }

    /// How large one user's database may become; 1 GiB unless said otherwise.
    #[must_use]
    pub fn bytes_per_user(mut self, bytes: u64) -> Self {
        self.limits.bytes_per_user = bytes;
        self
    }

    /// Opens the file, or makes it, and brings it up to date.
    ///
    /// # Errors
    /// [`Error::Database`] names the file and what to do: its folder is missing, it is not a database or not Insula's, it
    /// is of a newer version, locked, damaged or not to be written.
    pub fn open(self) -> Result<SqliteBackend, Error> {
        let file = File::new(&self.path);
        let main = Main { path: self.path.clone(), file: file.clone(), synchronous: self.synchronous, busy: self.busy };
        let signals = LocalSignals::new();
        let writer = Writer::start(main.writer()?, file.clone(), signals.clone(), self.synchronous)?;
        let readers = Readers::start(main, self.readers)?;
        let folder = self.databases.unwrap_or_else(|| beside(&self.path));
        let databases = Databases::new(folder, self.limits, self.busy, self.synchronous);
        let store = Store { file, clock: Arc::clone(&self.clock), writer, readers, deleting: Default::default() };
        Ok(SqliteBackend { store: Arc::new(store), signals, databases, clock: self.clock })
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".users");
    PathBuf::from(name)
}

/// One open file. Cheap to clone; the file is closed, and everything queued written, when the last clone and the last port
/// made from it are dropped. See the [crate's page](crate).
#[derive(Debug, Clone)]
pub struct SqliteBackend {
    store: Arc<Store>,
    signals: LocalSignals,
    databases: Databases,
    clock: Arc<dyn Clock>,
}

impl SqliteBackend {
    /// Opens a file as it is opened unless said otherwise.
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::at(path).open()
    }

    /// Says which file, and how to open it.
    pub fn at(path: impl Into<PathBuf>) -> Options {
        Options::new(path.into())
    }

    /// How much was written since it was opened.
    pub fn stats(&self) -> Stats {
        self.store.writer.stats()
    }

    /// All of its ports. The cache is this process's memory: losing it costs speed only.
    pub fn into_backend(self) -> Backend {
        Backend {
            queue: Arc::clone(&self.store) as _,
            runs: Arc::clone(&self.store) as _,
            log: Arc::clone(&self.store) as _,
            inbox: Arc::clone(&self.store) as _,
            schedules: Arc::clone(&self.store) as _,
            budgets: Arc::clone(&self.store) as _,
            state: Arc::clone(&self.store) as _,
            quota: Arc::clone(&self.store) as _,
            usage: Arc::clone(&self.store) as _,
            keys: Arc::clone(&self.store) as _,
            plans: Arc::clone(&self.store) as _,
            audit: Arc::clone(&self.store) as _,
            webhooks: Arc::clone(&self.store) as _,
            census: Arc::clone(&self.store) as _,
            health: self.store,
            signals: Arc::new(self.signals),
            cache: MemoryBackend::with(self.clock).into_backend().cache,
            database: Some(Arc::new(self.databases)),
        }
    }
}
