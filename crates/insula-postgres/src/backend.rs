//! Connecting to a database, and all ports on it together.

use std::{sync::Arc, time::Duration};

use insula_context::{Clock, SystemClock, UserScope};
use insula_infra::{Backend, Error, MemoryBackend};
use sqlx::PgPool;

use crate::{
    SCHEMA_VERSION, SchemaStatus,
    connect::Address,
    database::{Databases, Limits},
    error,
    home::Home,
    migrations,
    session::PgSession,
    signals::PgSignals,
    store::{Shared, Store},
    writer::Writer,
};

/// How to connect. Made by [`PostgresBackend::at`].
#[derive(Clone)]
pub struct Options {
    url: String,
    clock: Arc<dyn Clock>,
    is_pooled: bool,
    direct: Option<String>,
    reads: Option<String>,
    connections: u32,
    signals: bool,
    limits: Limits,
}

impl Options {
    /// Another clock. Leases, alarms, windows and the cache's times to live are counted by it alone; the clocks of several
    /// nodes have to agree to within a fraction of the lease.
    #[must_use]
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// Whether a transaction pooler stands in between: nothing is kept in a session then, statements are not prepared, and
    /// news of other nodes come only over a [direct](Options::direct) connection.
    #[must_use]
    pub fn pooled(self, is_pooled: bool) -> Self {
        Self { is_pooled, ..self }
    }

    /// A URL past the pooler, for the one connection that listens.
    #[must_use]
    pub fn direct(self, url: impl Into<String>) -> Self {
        Self { direct: Some(url.into()), ..self }
    }

    /// How many connections this process has at most; 10 unless said otherwise, and not fewer than 4.
    #[must_use]
    pub fn connections(self, connections: u32) -> Self {
        Self { connections: connections.max(4), ..self }
    }

    /// The URL of a replica, for lists and sums: what they tell may be a moment late.
    #[must_use]
    pub fn reads(self, url: impl Into<String>) -> Self {
        Self { reads: Some(url.into()), ..self }
    }

    /// Whether news of threads go to other nodes through the database; yes unless said otherwise. Not needed where they go
    /// another way.
    #[must_use]
    pub fn signals(self, signals: bool) -> Self {
        Self { signals, ..self }
    }

    /// How many sessions on agents' own tables there are at most at a time, 32 unless said otherwise, and how long one waits
    /// for one, 5 s. They are connections besides [those](Options::connections) of the platform.
    #[must_use]
    pub fn pool(self, sessions: usize, timeout: Duration) -> Self {
        Self { limits: Limits { sessions, timeout, ..self.limits }, ..self }
    }

    /// How many of them one user has at a time; a quarter unless said otherwise.
    #[must_use]
    pub fn sessions_per_user(self, sessions: usize) -> Self {
        Self { limits: Limits { sessions_per_user: Some(sessions), ..self.limits }, ..self }
    }

    /// How large a user's own tables may grow, in bytes; 1 GiB unless said otherwise. What would grow them further is not
    /// committed.
    #[must_use]
    pub fn bytes_per_user(self, bytes: u64) -> Self {
        Self { limits: Limits { bytes_per_user: bytes, ..self.limits }, ..self }
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database does not answer; [`Error::Database`] says what to do: its schema is missing,
    /// older or newer, or the role goes past row-level security.
    pub async fn connect(self) -> Result<PostgresBackend, Error> {
        let address = Address::parse(&self.url, self.is_pooled)?;
        let home = Home::new()?;
        let pool = home.enter(|| address.pool(self.connections));
        check(&home, &pool, &address).await?;
        let signals = self.news(&home, &pool)?;
        let agents = self.agents(&address)?;
        let replica = self.reads.as_deref().map(|url| Address::parse(url, self.is_pooled)).transpose()?;
        let shared = Arc::new(Shared {
            pool,
            replica: replica.map(|replica| home.enter(|| replica.pool(self.connections))),
            server: address.server,
            owners: Default::default(),
            clock: Arc::clone(&self.clock),
            turn: Default::default(),
            shard: i16::from_le_bytes([uuid::Uuid::new_v4().as_bytes()[0], 0]),
        });
        let (writer, ends) = Writer::start(home.handle(), &shared, &signals);
        home.ends_with(ends);
        let databases =
            agents.map(|agents| Databases::new(Arc::clone(&shared), Arc::clone(&home), agents, self.limits));
        let store = Arc::new(Store { writer, shared, home });
        Ok(PostgresBackend { store, signals, databases, clock: self.clock })
    }

    /// Where agents' sessions connect: a pooler knows neither their roles nor what a session is.
    fn agents(&self, address: &Address) -> Result<Option<Address>, Error> {
        match &self.direct {
            Some(url) => Address::parse(url, false).map(Some),
            None => Ok((!self.is_pooled).then(|| address.clone())),
        }
    }

    fn news(&self, home: &Home, pool: &PgPool) -> Result<PgSignals, Error> {
        let listen = match &self.direct {
            Some(url) => home.enter(|| Address::parse(url, false).map(|direct| direct.pool(1)))?,
            None => pool.clone(),
        };
        if !self.signals || (self.is_pooled && self.direct.is_none()) {
            return Ok(PgSignals::local_only());
        }
        Ok(PgSignals::across(home.handle(), pool, listen))
    }
}

/// Without the URL: there is a password in it.
impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("connections", &self.connections).finish_non_exhaustive()
    }
}

/// Refuses a database that this build cannot work on, and a role for which the walls do not stand.
async fn check(home: &Arc<Home>, pool: &PgPool, address: &Address) -> Result<(), Error> {
    const PAST: &str = "SELECT r.rolsuper OR r.rolbypassrls OR pg_has_role(c.relowner, 'USAGE')
        FROM pg_roles r, pg_class c WHERE r.rolname = current_user AND c.oid = 'insula.runs'::regclass";
    let (pool, server) = (pool.clone(), address.server.clone());
    let looking = home.call("connect", async move {
        let failed = |error| server.error("connect", error);
        let mut connection = pool.acquire().await.map_err(failed)?;
        match migrations::status(&mut connection, &server).await? {
            SchemaStatus::Version(SCHEMA_VERSION) => {}
            _ => return Err(server.problem("its schema is missing or older than this build: run `insula migrate`")),
        }
        let past: bool = sqlx::query_scalar(PAST).fetch_one(&mut *connection).await.map_err(failed)?;
        if past {
            let problem = "this role goes past row-level security, so the second wall between users would not stand: \
                connect as insula_app";
            return Err(server.problem(problem));
        }
        Ok(())
    });
    let waited = tokio::time::timeout(Duration::from_secs(10), looking).await;
    waited.unwrap_or_else(|_| Err(error::timeout("connect", Duration::from_secs(10))))
}

/// One database, connected. Cheap to clone; when the last clone and the last port made from it are dropped, what is queued is
/// written and the connections are closed. See the [crate's page](crate).
#[derive(Debug, Clone)]
pub struct PostgresBackend {
    store: Arc<Store>,
    signals: PgSignals,
    databases: Option<Databases>,
    clock: Arc<dyn Clock>,
}

impl PostgresBackend {
    /// Says which database, by a URL of the role that processes log in as, and how to connect.
    pub fn at(url: impl Into<String>) -> Options {
        Options {
            url: url.into(),
            clock: Arc::new(SystemClock::new()),
            is_pooled: false,
            direct: None,
            reads: None,
            connections: 10,
            signals: true,
            limits: Limits::default(),
        }
    }

    /// A session on this user's own tables, for code that is linked with this crate and wants typed queries. Counts and waits
    /// as every other. Cancellation safe.
    ///
    /// # Errors
    /// As [`DatabaseSessionManager::open`](insula_infra::DatabaseSessionManager::open); [`Error::Unavailable`] when there is
    /// a pooler in between and no [direct](Options::direct) address.
    pub async fn session(&self, scope: &UserScope) -> Result<PgSession, Error> {
        match &self.databases {
            Some(databases) => databases.session(scope).await,
            None => Err(error::gone("open a database session")),
        }
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
            database: self.databases.map(|databases| Arc::new(databases) as _),
        }
    }
}
