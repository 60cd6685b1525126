//! Agents' own tables: one database file per user, so that a table an agent makes is as far from other users as a file is.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{DatabaseSession, DatabaseSessionManager, Error, PayloadHash, pool::Pool};
use rusqlite::{Connection, OpenFlags};

use crate::{
    Synchronous, connect,
    error::File,
    guard::{self, Switches},
    session::{Session, blocking},
};

/// Bytes per page of a user's file.
const PAGE: u64 = 4_096;

/// Prepared statements that an idle connection keeps.
const STATEMENTS: usize = 16;

/// How long a statement waits for another writer before it looks whether it was given up.
const BUSY_SLICE: Duration = Duration::from_millis(20);

/// How many sessions, how long to wait, how large.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) sessions: usize,
    pub(crate) sessions_per_user: Option<usize>,
    pub(crate) timeout: Duration,
    pub(crate) bytes_per_user: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sessions: 32, sessions_per_user: None, timeout: Duration::from_secs(5), bytes_per_user: 1 << 30 }
    }
}

/// All users' databases.
#[derive(Debug, Clone)]
pub(crate) struct Databases(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    folder: PathBuf,
    pool: Pool,
    bytes_per_user: u64,
    busy: Duration,
    synchronous: Synchronous,
    idle: Mutex<VecDeque<Door>>,
    keep: usize,
    open: AtomicUsize,
    /// How many files were deleted. Held while one is, so that nobody opens half of it.
    deleted: RwLock<u64>,
}

/// A connection to one user's file.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) scope: UserScope,
    pub(crate) connection: Connection,
    pub(crate) switches: Switches,
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// How many files had been deleted when it was opened.
    deleted: u64,
}

impl Databases {
    pub(crate) fn new(folder: PathBuf, limits: Limits, busy: Duration, synchronous: Synchronous) -> Self {
        let share = limits.sessions_per_user.unwrap_or((limits.sessions / 4).max(1));
        Self(Arc::new(Inner {
            folder,
            pool: Pool::new(limits.sessions, share, limits.timeout),
            bytes_per_user: limits.bytes_per_user,
            busy,
            synchronous,
            idle: Mutex::default(),
            keep: limits.sessions,
            open: AtomicUsize::new(0),
            deleted: RwLock::new(0),
        }))
    }
}

#[async_trait]
impl DatabaseSessionManager for Databases {
    async fn open(&self, scope: &UserScope) -> Result<Box<dyn DatabaseSession>, Error> {
        let place = self.0.pool.place(scope).await?;
        let count = Count::one(Arc::clone(&self.0));
        let (inner, scope) = (Arc::clone(&self.0), scope.clone());
        let door = blocking("open a database session", move || inner.begin(&scope)).await??;
        Ok(Box::new(Session::new(door, count, place)))
    }

    async fn forget_user(&self, scope: &UserScope) -> Result<(), Error> {
        let (inner, scope) = (Arc::clone(&self.0), scope.clone());
        blocking("delete a database", move || inner.delete(&scope)).await?
    }

    fn open_sessions(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }
}

impl Inner {
    /// A connection to this user's file, inside a transaction.
    fn begin(&self, scope: &UserScope) -> Result<Door, Error> {
        let door = match self.take_idle(scope) {
            Some(door) => door,
            None => self.connect(scope)?,
        };
        let begun = door.switches.run_own(&door.connection, "BEGIN");
        begun.map_err(|error| door.file.error("begin", error))?;
        Ok(door)
    }

    fn take_idle(&self, scope: &UserScope) -> Option<Door> {
        let mut idle = self.idle();
        let place = idle.iter().position(|door| door.scope == *scope)?;
        idle.remove(place)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Door>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection back whose transaction has ended. One with temporary tables goes, or the user's next session
    /// would find them.
    pub(crate) fn give_back(&self, door: Door) {
        const TEMPORARY: &str = "SELECT count(*) FROM temp.sqlite_schema";
        door.switches.revive();
        let temporary = door.connection.query_row(TEMPORARY, [], |row| row.get::<_, u64>(0));
        let deleted = self.deleted.read().unwrap_or_else(PoisonError::into_inner);
        // Its file may be one of those that are gone.
        if !door.connection.is_autocommit() || temporary != Ok(0) || door.deleted != *deleted {
            return;
        }
        let mut idle = self.idle();
        idle.push_back(door);
        let oldest = if idle.len() > self.keep { idle.pop_front() } else { None };
        drop(idle);
        drop(oldest);
    }

    /// Deletes a user's file. A connection that is still open keeps what it has until it is closed, and is not used again.
    fn delete(&self, scope: &UserScope) -> Result<(), Error> {
        let mut deleted = self.deleted.write().unwrap_or_else(PoisonError::into_inner);
        *deleted += 1;
        self.idle().retain(|door| door.scope != *scope);
        let path = self.folder.join(file_name(scope));
        for end in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(end);
            match std::fs::remove_file(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    let problem = "it cannot be deleted: give this user write access to its folder".to_owned();
                    let file = File::new(&path).name().to_owned();
                    return Err(Error::Database { file, problem, source: Some(Arc::new(error)) });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn connect(&self, scope: &UserScope) -> Result<Door, Error> {
        let deleted = self.deleted.read().unwrap_or_else(PoisonError::into_inner);
        let shown = self.folder.join(file_name(scope));
        let file = File::new(&shown);
        make_folder(&self.folder, &file)?;
        connect::prepare_file(&shown, &file)?;
        let switches = Switches::default();
        let connection = self.set_up(&shown, &switches).map_err(|error| file.opening(error))?;
        Ok(Door { scope: scope.clone(), connection, switches, file, path: shown, deleted: *deleted })
    }

    fn set_up(&self, path: &Path, switches: &Switches) -> rusqlite::Result<Connection> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        // The folder may lie behind a link, the file itself may not be one.
        let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
        let path = folder.zip(path.file_name()).map_or_else(|| path.to_owned(), |(folder, name)| folder.join(name));
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_SLICE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", self.synchronous.as_str())?;
        connection.pragma_update(None, "temp_store", "memory")?;
        let pages = (self.bytes_per_user / PAGE).clamp(1, u64::from(u32::MAX - 1));
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        guard::guard(&connection, switches)?;
        Ok(connection)
    }

    /// How often to wait for another session of the same user.
    pub(crate) fn busy_tries(&self) -> u32 {
        u32::try_from(self.busy.as_millis() / BUSY_SLICE.as_millis()).unwrap_or(u32::MAX)
    }

    pub(crate) fn bytes_per_user(&self) -> u64 {
        self.bytes_per_user
    }
}

/// The hash of both names, each with its length before it: ("a", "bc") and ("ab", "c") are two users.
fn file_name(scope: &UserScope) -> String {
    let (tenant, user) = (scope.tenant().as_str(), scope.user().as_str());
    let mut names = Vec::with_capacity(16 + tenant.len() + user.len());
    for name in [tenant, user] {
        names.extend((name.len() as u64).to_le_bytes());
        names.extend(name.as_bytes());
    }
    format!("{}.db", PayloadHash::of(&names))
}

fn make_folder(folder: &Path, file: &File) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| Error::Database {
        file: file.name().to_owned(),
        problem: "the folder for users' databases cannot be made: give this user write access to its parent".to_owned(),
        source: Some(Arc::new(error)),
    })
}

/// Counts one open session, as long as it lives.
#[derive(Debug)]
pub(crate) struct Count(Arc<Inner>);

impl Count {
    fn one(inner: Arc<Inner>) -> Self {
        inner.open.fetch_add(1, Ordering::AcqRel);
        Self(inner)
    }

    pub(crate) fn databases(&self) -> &Arc<Inner> {
        &self.0
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_read_the_same_when_joined_are_two_files() {
        #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
        let issuer = insula_context::ScopeIssuer::new();
        let name = |tenant, user| file_name(&issuer.issue(tenant, user).expect("valid"));
        assert_ne!(name("a", "bc"), name("ab", "c"));
        assert_eq!(name("a", "bc"), name("a", "bc"));
        assert_eq!(name("a", "bc").len(), 67);
    }
}
