//! Agents' own tables: a schema and a role per user, so that what an agent sends reaches no other user's tables whatever it is.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{
    DatabaseSession, DatabaseSessionManager, Error,
    pool::{Place, Pool},
};

use crate::{
    connect::Address,
    door::{self, Door},
    error,
    home::Home,
    owners::Newcomers,
    session::{Held, PgSession},
    store::Shared,
};

/// How many times its share of one process a user's role may be logged in: there may be several processes, and the server
/// counts those who are just leaving.
const PROCESSES: usize = 4;

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

/// All users' tables.
#[derive(Debug, Clone)]
pub(crate) struct Databases(Arc<Inner>);

pub(crate) struct Inner {
    shared: Arc<Shared>,
    home: Arc<Home>,
    address: Address,
    pool: Pool,
    limits: Limits,
    /// Connections per role.
    most: i32,
    idle: Mutex<VecDeque<Door>>,
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
}

struct Open {
    owner: i64,
    is_forgotten: Arc<AtomicBool>,
}

impl Databases {
    /// `address` has to lead to the server itself, not to a pooler: a session is more than a transaction.
    pub(crate) fn new(shared: Arc<Shared>, home: Arc<Home>, address: Address, limits: Limits) -> Self {
        let share = limits.sessions_per_user.unwrap_or((limits.sessions / 4).max(1));
        Self(Arc::new(Inner {
            shared,
            home,
            address,
            pool: Pool::new(limits.sessions, share, limits.timeout),
            limits,
            most: i32::try_from(share.saturating_mul(PROCESSES)).unwrap_or(i32::MAX),
            idle: Mutex::default(),
            open: Mutex::default(),
            next: AtomicU64::new(0),
        }))
    }

    /// A session on this user's tables, inside a transaction.
    pub(crate) async fn session(&self, scope: &UserScope) -> Result<PgSession, Error> {
        let place = self.0.pool.place(scope).await?;
        let (inner, scope) = (Arc::clone(&self.0), scope.clone());
        let held =
            self.0.home.call("open a database session", async move { begin(inner, &scope, place).await }).await?;
        Ok(PgSession::new(held))
    }
}

#[async_trait]
impl DatabaseSessionManager for Databases {
    async fn open(&self, scope: &UserScope) -> Result<Box<dyn DatabaseSession>, Error> {
        Ok(Box::new(self.session(scope).await?))
    }

    async fn forget_user(&self, scope: &UserScope) -> Result<(), Error> {
        let (inner, scope) = (Arc::clone(&self.0), scope.clone());
        self.0.home.call("delete a database", async move { inner.forget(&scope).await }).await
    }

    fn open_sessions(&self) -> usize {
        lock(&self.0.open).len()
    }
}

async fn begin(inner: Arc<Inner>, scope: &UserScope, place: Place) -> Result<Held, Error> {
    const OPERATION: &str = "open a database session";
    let owner = inner.shared.number(OPERATION, scope, Newcomers::Number).await?;
    let owner = owner.ok_or_else(|| error::gone(OPERATION))?;
    let count = Count::one(&inner, owner);
    while let Some(mut door) = inner.take_idle(owner) {
        // The server may have ended it meanwhile.
        if door.begin().await.is_ok() {
            return Ok(Held::new(door, count, place, inner));
        }
    }
    inner.make_room();
    let mut door = Door::open(&inner.shared, &inner.address, owner, inner.most).await?;
    door.begin().await.map_err(|stop| inner.shared.server.stop(OPERATION, stop))?;
    Ok(Held::new(door, count, place, inner))
}

impl Inner {
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub(crate) fn bytes_per_user(&self) -> u64 {
        self.limits.bytes_per_user
    }

    fn take_idle(&self, owner: i64) -> Option<Door> {
        let mut idle = lock(&self.idle);
        let place = idle.iter().position(|door| door.owner == owner)?;
        idle.remove(place)
    }

    /// Takes a connection back that the next session of its owner may have.
    pub(crate) fn give_back(&self, door: Door) {
        lock(&self.idle).push_back(door);
    }

    /// Never more connections than sessions are allowed: those that have been idle for longest go.
    fn make_room(&self) {
        let open = lock(&self.open).len();
        let mut idle = lock(&self.idle);
        let keep = self.limits.sessions.saturating_sub(open);
        let surplus = idle.len().saturating_sub(keep);
        let leaving: Vec<Door> = idle.drain(..surplus).collect();
        drop(idle);
        drop(leaving);
    }

    async fn forget(&self, scope: &UserScope) -> Result<(), Error> {
        let owner = self.shared.number("delete a database", scope, Newcomers::Leave).await?;
        let Some(owner) = owner else { return Ok(()) };
        self.part_with(owner);
        let outcome = door::forget(&self.shared, owner).await;
        // Those who came in between were ended as well.
        self.part_with(owner);
        outcome
    }

    /// No session of this owner that is open or idle now is used again.
    fn part_with(&self, owner: i64) {
        for open in lock(&self.open).values().filter(|open| open.owner == owner) {
            open.is_forgotten.store(true, Ordering::Release);
        }
        lock(&self.idle).retain(|door| door.owner != owner);
    }
}

/// Whoever panics while holding one of these locks has changed one entry or none.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("limits", &self.limits)
            .field("open", &lock(&self.open).len())
            .finish_non_exhaustive()
    }
}

/// Counts one open session, as long as it lives.
pub(crate) struct Count {
    inner: Arc<Inner>,
    number: u64,
    is_forgotten: Arc<AtomicBool>,
}

impl Count {
    fn one(inner: &Arc<Inner>, owner: i64) -> Self {
        let number = inner.next.fetch_add(1, Ordering::Relaxed);
        let is_forgotten = Arc::new(AtomicBool::new(false));
        lock(&inner.open).insert(number, Open { owner, is_forgotten: Arc::clone(&is_forgotten) });
        Self { inner: Arc::clone(inner), number, is_forgotten }
    }

    /// Whether the owner's tables were deleted meanwhile.
    pub(crate) fn is_forgotten(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_forgotten)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        lock(&self.inner.open).remove(&self.number);
    }
}
