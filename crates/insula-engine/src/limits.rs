//! What one user may have at once, and the permits that prove it.
//!
//! A permit is a value that a constructor requires and that drop gives back, so nothing can be had without one and none
//! can be forgotten.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use insula_context::{Ceiling, UserScope};
use insula_infra::{Allowance, Holder, Quota, RateLimit, Taken};
use insula_registry::AgentClass;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// How much is allowed. Each limit holds for one user over the whole process, however many handles there are.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Live engines of a user.
    pub engines: usize,
    /// Running runs of a user; more wait in the order in which they came.
    pub running: usize,
    /// Runs of a user that wait for their turn in this process; more are refused.
    pub waiting: usize,
    /// Runs of a user in the queue that nobody has begun yet; more are refused.
    pub queued: usize,
    /// How many of a user's runs are taken from the queue in a turn, from the next submission on.
    pub weight: u16,
    /// Schedules of a user; more are refused.
    pub schedules: usize,
    /// Tool calls of a user in flight; more are refused.
    pub tool_calls: usize,
    /// Connections of a user; more are refused.
    pub connections: usize,
    /// How often a connection gives a sign of life. Three missed ones close it.
    pub heartbeat: Duration,
    /// How long a run may be worked on at a stretch, its waiting for a turn included. The time for which it is parked does
    /// not count.
    pub run_time: Duration,
    /// How long an agent that is stopped may take until its run ends without it.
    pub grace: Duration,
    /// How long a run only waits before it is parked: nothing of it is in memory then.
    pub park_after: Duration,
    /// How long an engine may be idle before it is swept.
    pub engine_idle: Duration,
    /// How many ended runs an engine remembers.
    pub history: usize,
    /// Runs from the queue that this process works on at once.
    pub claimed: usize,
    /// The life of a lease. It is renewed at a third of it.
    pub lease: Duration,
    /// How long a thread is kept after its last run has ended; for ever when absent. A process that works on the queue
    /// looks once a minute.
    pub retention: Option<Duration>,
    /// How many runs a user may begin or submit within a window; more are refused. Not limited otherwise.
    pub run_rate: Option<(u64, Duration)>,
    /// What a user may spend within a window, which starts with its first use. Not limited otherwise.
    pub user_allowance: Option<(Ceiling, Duration)>,
    /// What all users of the user's tenant may spend together within a window. Not limited otherwise.
    pub tenant_allowance: Option<(Ceiling, Duration)>,
}

/// The limits of single users, where they are not those of everybody: plans, for example.
pub(crate) type LimitsOf = Arc<dyn Fn(&UserScope) -> Option<Limits> + Send + Sync>;

impl Limits {
    fn allowances(&self) -> Vec<Allowance> {
        let both = [(Holder::User, self.user_allowance), (Holder::Tenant, self.tenant_allowance)];
        let given =
            both.into_iter().filter_map(|(holder, given)| given.map(|(ceiling, window)| (holder, ceiling, window)));
        given.map(|(holder, ceiling, window)| Allowance { holder, ceiling, window }).collect()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            engines: 100,
            running: 64,
            waiting: 10_000,
            queued: 10_000,
            weight: 1,
            schedules: 1_000,
            tool_calls: 64,
            connections: 10,
            heartbeat: Duration::from_secs(15),
            run_time: Duration::from_secs(3_600),
            grace: Duration::from_millis(500),
            park_after: Duration::from_secs(1),
            engine_idle: Duration::from_secs(1_800),
            history: 100,
            claimed: 256,
            lease: Duration::from_secs(30),
            retention: None,
            run_rate: None,
            user_allowance: None,
            tenant_allowance: None,
        }
    }
}

const SHARDS: usize = 16;

type Accounts = HashMap<UserScope, Weak<Account>>;

/// The accounts of all users that have something now.
pub(crate) struct Ledger {
    limits: Limits,
    limits_of: Option<LimitsOf>,
    shards: [Mutex<Accounts>; SHARDS],
    hasher: RandomState,
}

/// What one user has now. Exists as long as somebody holds it or a permit of it.
#[derive(Debug)]
pub(crate) struct Account {
    scope: UserScope,
    limits: Limits,
    allowances: Vec<Allowance>,
    engines: AtomicUsize,
    waiting: AtomicUsize,
    connections: AtomicUsize,
    tool_calls: AtomicUsize,
    by_tool: Mutex<HashMap<String, usize>>,
    running: Arc<Semaphore>,
    /// Turns of the classes that have a limit of their own.
    by_class: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
    ledger: Weak<Ledger>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Ledger {
    pub(crate) fn new(limits: Limits, limits_of: Option<LimitsOf>) -> Arc<Self> {
        Arc::new(Self { limits, limits_of, shards: Default::default(), hasher: RandomState::new() })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn shard(&self, scope: &UserScope) -> &Mutex<Accounts> {
        &self.shards[usize::try_from(self.hasher.hash_one(scope) % SHARDS as u64).unwrap_or(0)]
    }

    /// The account of a user: the same one for everybody who asks while it exists.
    pub(crate) fn account(self: &Arc<Self>, scope: &UserScope) -> Arc<Account> {
        let mut accounts = lock(self.shard(scope));
        if let Some(account) = accounts.get(scope).and_then(Weak::upgrade) {
            return account;
        }
        let limits = self.limits_of.as_ref().and_then(|of| of(scope)).unwrap_or_else(|| self.limits.clone());
        let account = Arc::new(Account {
            scope: scope.clone(),
            allowances: limits.allowances(),
            by_class: Mutex::default(),
            engines: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            tool_calls: AtomicUsize::new(0),
            by_tool: Mutex::default(),
            running: Arc::new(Semaphore::new(limits.running.min(Semaphore::MAX_PERMITS))),
            limits,
            ledger: Arc::downgrade(self),
        });
        accounts.insert(scope.clone(), Arc::downgrade(&account));
        account
    }

    /// How many users have something now.
    pub(crate) fn users(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(ledger) = self.ledger.upgrade() else { return };
        let mut accounts = lock(ledger.shard(&self.scope));
        // Somebody may have opened a new account for the same user in between.
        if accounts.get(&self.scope).is_some_and(|account| account.strong_count() == 0) {
            accounts.remove(&self.scope);
        }
    }
}

/// The right to be one of a user's counted things.
#[derive(Debug)]
pub(crate) struct Permit {
    account: Arc<Account>,
    count: fn(&Account) -> &AtomicUsize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        (self.count)(&self.account).fetch_sub(1, Ordering::AcqRel);
    }
}

/// The right to call a tool.
#[derive(Debug)]
pub(crate) struct ToolPermit {
    _any: Permit,
    of_tool: Option<(Arc<Account>, String)>,
}

impl Drop for ToolPermit {
    fn drop(&mut self) {
        let Some((account, tool)) = &self.of_tool else { return };
        let mut by_tool = lock(&account.by_tool);
        if let Some(calls) = by_tool.get_mut(tool) {
            *calls -= 1;
            if *calls == 0 {
                by_tool.remove(tool);
            }
        }
    }
}

/// The right to run. Children run under their parent's.
#[derive(Debug)]
pub(crate) struct RunPermit {
    _of_class: Option<OwnedSemaphorePermit>,
    _permit: OwnedSemaphorePermit,
    _account: Arc<Account>,
}

impl Account {
    fn take(
        self: &Arc<Self>,
        count: fn(&Self) -> &AtomicUsize,
        limit: usize,
        what: &'static str,
        advice: &'static str,
    ) -> Result<Permit, Error> {
        let more = |n: usize| (n < limit).then_some(n + 1);
        match count(self).fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => Ok(Permit { account: Arc::clone(self), count }),
            Err(_) => Err(Error::Limit { user: self.scope.clone(), what, limit, retry_after: None, advice }),
        }
    }

    pub(crate) fn engine(self: &Arc<Self>) -> Result<Permit, Error> {
        self.take(|a| &a.engines, self.limits.engines, "live engines", "drop or shut down one of them")
    }

    pub(crate) fn connection(self: &Arc<Self>) -> Result<Permit, Error> {
        self.take(|a| &a.connections, self.limits.connections, "connections", "close one of them")
    }

    /// A place in the line, for runs that find no free permit.
    pub(crate) fn wait(self: &Arc<Self>) -> Result<Permit, Error> {
        self.take(|a| &a.waiting, self.limits.waiting, "waiting runs", "come back when some have ended")
    }

    /// A place in the line, however long it is.
    pub(crate) fn wait_anyway(self: &Arc<Self>) -> Permit {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Permit { account: Arc::clone(self), count: |account| &account.waiting }
    }

    /// What this user may have.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many runs wait in the line.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// The right to run, if it is free and nobody waits for it.
    pub(crate) fn try_run(self: &Arc<Self>, class: &AgentClass) -> Option<RunPermit> {
        if self.waiting() > 0 {
            return None;
        }
        let of_class = self.turns_of(class).map(Semaphore::try_acquire_owned).transpose().ok()?;
        let permit = Arc::clone(&self.running).try_acquire_owned().ok()?;
        Some(RunPermit { _of_class: of_class, _permit: permit, _account: Arc::clone(self) })
    }

    /// The right to run, in the order in which it was asked for. Cancellation safe: a dropped call gives its place up.
    pub(crate) async fn run(self: &Arc<Self>, class: &AgentClass) -> Result<RunPermit, Error> {
        // The class first: whoever waits for a turn of its class must not keep others from theirs.
        let of_class = match self.turns_of(class) {
            Some(turns) => Some(turns.acquire_owned().await.map_err(|_| Error::ShutDown)?),
            None => None,
        };
        let permit = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Error::ShutDown)?;
        Ok(RunPermit { _of_class: of_class, _permit: permit, _account: Arc::clone(self) })
    }

    fn turns_of(&self, class: &AgentClass) -> Option<Arc<Semaphore>> {
        let running = class.class_limits().running?;
        let mut by_class = lock(&self.by_class);
        let turns = || Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS)));
        Some(Arc::clone(by_class.entry(Arc::clone(class.name())).or_insert_with(turns)))
    }

    /// How long a run of a class may take.
    pub(crate) fn run_time(&self, class: &AgentClass) -> Duration {
        class.class_limits().timeout.map_or(self.limits.run_time, |timeout| timeout.min(self.limits.run_time))
    }

    /// What the user and the tenant may spend, where that is limited.
    pub(crate) fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }

    /// Counts a run that is begun or submitted.
    pub(crate) async fn take_run(&self, quota: &dyn Quota) -> Result<(), Error> {
        let Some((max, window)) = self.limits.run_rate else { return Ok(()) };
        let limit = RateLimit { name: "runs".to_owned(), max, window };
        match quota.take(&self.scope, &limit, 1).await? {
            Taken::Granted { .. } => Ok(()),
            Taken::Refused { retry_after } => Err(Error::Limit {
                user: self.scope.clone(),
                what: "runs in this window",
                limit: usize::try_from(max).unwrap_or(usize::MAX),
                retry_after: Some(retry_after),
                advice: "come back when the window has ended",
            }),
        }
    }

    /// The right to call a tool; `Err` with the limit that is reached.
    pub(crate) fn tool(self: &Arc<Self>, tool: &str, in_flight: Option<usize>) -> Result<ToolPermit, usize> {
        let limit = self.limits.tool_calls;
        let any = self.take(|a| &a.tool_calls, limit, "tool calls", "wait for one to end").map_err(|_| limit)?;
        let Some(most) = in_flight else { return Ok(ToolPermit { _any: any, of_tool: None }) };
        let mut by_tool = lock(&self.by_tool);
        let calls = by_tool.entry(tool.to_owned()).or_default();
        if *calls >= most {
            return Err(most);
        }
        *calls += 1;
        Ok(ToolPermit { _any: any, of_tool: Some((Arc::clone(self), tool.to_owned())) })
    }
}
