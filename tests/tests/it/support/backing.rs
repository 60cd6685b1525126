//! The backends that a story is told on.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use insula_context::{Clock, SystemClock};
use insula_infra::{Backend, MemoryBackend};
use insula_sqlite::{SqliteBackend, Synchronous};
use tempfile::TempDir;

use super::{Island, ShiftedClock};

/// A backend, and what must outlive it.
#[derive(Debug)]
pub(crate) enum Backing {
    Memory,
    Sqlite(TempDir),
}

impl Backing {
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a folder for the database"))
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

/// One test per backend, `name::memory` and `name::sqlite`, from one story.
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
        }
    )*};
}

/// One test per backend with a database for agents' own tables: `name::sqlite`.
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

pub(crate) use {in_virtual_time, on_every_backend, on_every_database};
