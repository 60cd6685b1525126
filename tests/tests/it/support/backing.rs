//! The backends that a story is told on.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use insula_context::{Clock, SystemClock};
use insula_infra::{Backend, MemoryBackend};
use insula_postgres::{PostgresBackend, SCHEMA_HASH, SCHEMA_VERSION, migrate};
use insula_sqlite::{SqliteBackend, Synchronous};
use insula_test_services::Postgres;
use tempfile::TempDir;

use super::{Island, ShiftedClock};

/// A backend, and what must outlive it.
#[derive(Debug)]
pub(crate) enum Backing {
    Memory,
    Sqlite(TempDir),
    Postgres(Postgres),
}

impl Backing {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a folder for the database"))
    }

    /// A database of one's own on the server for tests.
    pub(crate) async fn postgres() -> Self {
        let template = format!("insula-tests-{SCHEMA_VERSION}-{}", SCHEMA_HASH);
        let up_to_date = async |url: &str| {
            migrate(url).await.expect("the database is brought up to date");
        };
        let database = Postgres::prepared(&template, up_to_date).await;
        // What shuts agents out of a database as a whole is not copied with it.
        up_to_date(&database.url()).await;
        Self::Postgres(database)
    }

    /// A backend of this kind, whose leases and windows are counted by `clock`. On SQLite, the same file each time.
    pub(crate) fn open(&self, clock: Arc<dyn Clock>) -> Backend {
        match self {
            Self::Memory => MemoryBackend::with(clock).into_backend(),
            // What a loss of power would take is no question of these suites.
            Self::Sqlite(folder) => SqliteBackend::at(folder.path().join("insula.db"))
                .clock(clock)
                .synchronous(Synchronous::Normal)
                .open()
                .expect("the database opens")
                .into_backend(),
            Self::Postgres(database) => connect(database, clock),
        }
    }

    /// As [`Backing::open`], with the clock.
    pub(crate) fn open_at(&self, clock: &Arc<ShiftedClock>) -> (Backend, Arc<ShiftedClock>) {
        (self.open(Arc::clone(clock) as _), Arc::clone(clock))
    }

    /// Another one of the same kind.
    pub(crate) fn another(&self) -> Self {
        match self {
            Self::Memory => Self::Memory,
            Self::Sqlite(_) => Self::sqlite(),
            Self::Postgres(_) => panic!("another database on the server is made by `postgres`"),
        }
    }

    /// Waits until the file is closed, and with it whole: what was written beside it is in it then. The last thread that
    /// holds it may be a moment behind the runtime that it was used on.
    pub(crate) fn closed(&self) -> PathBuf {
        let Self::Sqlite(folder) = self else { panic!("memory has no file") };
        let beside = folder.path().join("insula.db-wal");
        for _ in 0..20_000 {
            if !beside.exists() {
                return folder.path().join("insula.db");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("somebody holds the file open");
    }

    /// Tells a story on an island of its own and then looks at every log.
    pub(crate) async fn tell<F: Future<Output = ()>>(self, story: impl FnOnce(Island) -> F) {
        let backend = self.open(Arc::new(SystemClock::new()));
        let island = Island::new(backend);
        let witness = island.witness();
        story(island).await;
        witness.hold_against_the_invariants().await;
        drop(self);
    }
}

/// As a process connects: as the role for which the walls stand. On a thread that may wait, because a test may not.
fn connect(database: &Postgres, clock: Arc<dyn Clock>) -> Backend {
    let url = database.url();
    let server =
        url.split_once('@').map_or_else(|| url.clone(), |(_, server)| format!("postgres://insula_app@{server}"));
    let connecting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(PostgresBackend::at(server).clock(clock).connect()).expect("connects").into_backend()
    });
    connecting.join().expect("connects")
}

/// One test per backend, `name::memory`, `name::sqlite` and `name::postgres`, from one story.
macro_rules! on_every_backend {
    ($($(#[$meta:meta])* async fn $name:ident($island:ident: $kind:ident) $story:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn story($island: $kind) $story

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn memory() {
                $crate::support::Backing::Memory.tell(story).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::support::Backing::sqlite().tell(story).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::support::Backing::postgres().await.tell(story).await;
            }
        }
    )*};
}

/// One test per backend with a database for agents' own tables: `name::sqlite` and `name::postgres`.
macro_rules! on_every_database {
    ($($(#[$meta:meta])* async fn $name:ident($island:ident: $kind:ident) $story:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn story($island: $kind) $story

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::support::Backing::sqlite().tell(story).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::support::Backing::postgres().await.tell(story).await;
            }
        }
    )*};
}

/// One test, on SQLite: for agents whose statements are in its dialect.
macro_rules! on_sqlite {
    ($($(#[$meta:meta])* async fn $name:ident($island:ident: $kind:ident) $story:block)*) => {$(
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn story($island: $kind) $story

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::support::Backing::sqlite().tell(story).await;
            }
        }
    )*};
}

/// A test in virtual time: waiting costs nothing, and what waits longest comes last. Memory only, because a database's
/// own threads know nothing of virtual time.
macro_rules! in_virtual_time {
    ($($(#[$meta:meta])* async fn $name:ident($island:ident: $kind:ident) $story:block)*) => {$(
        $(#[$meta])*
        #[tokio::test(start_paused = true)]
        async fn $name() {
            async fn story($island: $kind) $story
            let on_the_runtime = |island: $crate::support::Island| {
                story(island.threads(insula_engine::AgentThreads::Runtime))
            };
            $crate::support::Backing::Memory.tell(on_the_runtime).await;
        }
    )*};
}

pub(crate) use {in_virtual_time, on_every_backend, on_every_database, on_sqlite};
