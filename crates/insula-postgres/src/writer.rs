//! Those who write in groups.
//!
//! Each takes everything that is queued, does it in one transaction, and tells everybody once that is durable. What arrives
//! meanwhile joins the next one. So a slow disk or a far server makes groups larger and not throughput smaller. What belongs
//! to one thread is always done by the same one, in the order in which it came.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use insula_context::{ThreadId, Timestamp, UserScope};
use insula_infra::Error;
use sqlx::{Postgres, pool::PoolConnection};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    error::{self, Stop, Worked},
    group::{self, Desk, Wants},
    owners::Newcomers,
    signals::PgSignals,
    store::{Shared, TRIES},
    transaction::{Kind, Tx},
};

/// Who write at the same time. Measured on two cores, a third one brings nothing.
const LANES: usize = 2;

/// Pieces of work in one transaction at most.
const GROUP: usize = 1_024;

/// Pieces of work that may wait, per lane. Beyond it the database is seconds behind, and a refusal tells the truth sooner.
const ROOM: usize = 32_768;

/// How often a lost connection is made again before those who wait are told, and how long is waited between: together longer
/// than a restart of the server takes.
const RECONNECTS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// A piece of work. It decides on the desk, and says what came of it when that is durable.
pub(crate) trait Job: Send + Sync {
    /// Whose it is.
    fn scope(&self) -> &UserScope;

    /// Whether the owner gets a number for it.
    fn newcomers(&self) -> Newcomers {
        Newcomers::Number
    }

    /// What it needs to see.
    fn wants(&self, wants: &mut Wants);

    /// Does it. May be called again if the transaction came to nothing.
    fn run(&mut self, desk: &mut Desk, now: Timestamp);

    /// Tells whoever waits: it is durable, or why not.
    fn settle(self: Box<Self>, outcome: Result<(), Error>, signals: &PgSignals);
}

/// The handle on those who write. They end when it is dropped, and everything queued is written.
pub(crate) struct Writer {
    lanes: Vec<mpsc::Sender<Box<dyn Job>>>,
    hasher: RandomState,
}

impl Writer {
    /// Starts them, and says what to wait for when they end.
    pub(crate) fn start(home: &Handle, shared: &Arc<Shared>, signals: &PgSignals) -> (Self, Vec<JoinHandle<()>>) {
        let (mut lanes, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..LANES {
            let (sender, inbox) = mpsc::channel(ROOM);
            let lane = Lane { shared: Arc::clone(shared), signals: signals.clone(), connection: None };
            ends.push(home.spawn(lane.work(inbox)));
            lanes.push(sender);
        }
        (Self { lanes, hasher: RandomState::new() }, ends)
    }

    /// Queues a piece of work beside others of its thread; gives an error when there is no room for it.
    pub(crate) fn send(&self, scope: &UserScope, thread: Option<&ThreadId>, job: Box<dyn Job>) -> Result<(), Error> {
        let mut hash = self.hasher.build_hasher();
        hash.write(scope.user().as_str().as_bytes());
        hash.write(thread.map_or("", |thread| thread.as_str()).as_bytes());
        let lane = usize::try_from(hash.finish() % LANES as u64).unwrap_or(0);
        self.lanes[lane].try_send(job).map_err(|_| error::gone("write"))
    }

    /// Queues a piece of work, and waits for what comes of it.
    pub(crate) async fn ask<T>(
        &self,
        scope: &UserScope,
        thread: Option<&ThreadId>,
        make: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> Box<dyn Job>,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        self.send(scope, thread, make(sender))?;
        receiver.await.unwrap_or_else(|_| Err(error::gone("write")))
    }
}

/// One who writes.
struct Lane {
    shared: Arc<Shared>,
    signals: PgSignals,
    /// Kept from one group to the next.
    connection: Option<PoolConnection<Postgres>>,
}

impl Lane {
    async fn work(mut self, mut inbox: mpsc::Receiver<Box<dyn Job>>) {
        let mut group = Vec::with_capacity(GROUP);
        while inbox.recv_many(&mut group, GROUP).await > 0 {
            let mut jobs = std::mem::take(&mut group);
            match self.write(&mut jobs).await {
                Ok(()) => self.settle(jobs, &Ok(())),
                Err(error) if jobs.len() == 1 || error.is_transient() => self.settle(jobs, &Err(error)),
                Err(_) => self.one_by_one(jobs).await,
            }
        }
    }

    /// One of them cannot be written; the others are not to suffer for it.
    async fn one_by_one(&mut self, jobs: Vec<Box<dyn Job>>) {
        for job in jobs {
            let mut alone = vec![job];
            let outcome = self.write(&mut alone).await;
            self.settle(alone, &outcome);
        }
    }

    fn settle(&self, jobs: Vec<Box<dyn Job>>, outcome: &Result<(), Error>) {
        for job in jobs {
            job.settle(outcome.clone(), &self.signals);
        }
    }

    /// In one transaction, begun again as long as that can help.
    async fn write(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Error> {
        let (mut contended, mut lost) = (0, 0);
        loop {
            let now = self.shared.clock.now();
            let error = match self.once(jobs, now).await {
                Ok(()) => return Ok(()),
                Err(Undone::Before(Stop::Failed(error))) => error,
                Err(Undone::Before(stop) | Undone::InDoubt(stop)) => {
                    return Err(self.shared.server.stop("write", stop));
                }
            };
            self.connection = None;
            if error::is_contended(&error) && contended < TRIES {
                contended += 1;
            } else if error::is_lost(&error) && lost < RECONNECTS {
                lost += 1;
                tokio::time::sleep(PAUSE).await;
            } else {
                return Err(self.shared.server.error("write", error));
            }
        }
    }

    async fn once(&mut self, jobs: &mut [Box<dyn Job>], now: Timestamp) -> Result<(), Undone> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.shared.pool.acquire().await?,
        };
        let (mut tx, numbers) = self.begin(connection, jobs).await?;
        let worked = self.on_desk(&mut tx, jobs, numbers, now).await;
        if let Err(stop) = worked {
            self.connection = tx.roll_back().await.ok();
            return Err(Undone::Before(stop));
        }
        self.connection = Some(tx.commit().await.map_err(|error| Undone::InDoubt(error.into()))?);
        Ok(())
    }

    /// Whose work it is, and a transaction that has entered all of them.
    async fn begin(
        &self,
        mut connection: PoolConnection<Postgres>,
        jobs: &[Box<dyn Job>],
    ) -> Result<(Tx, HashMap<UserScope, i64>), Undone> {
        let mut numbers = HashMap::new();
        for newcomers in [Newcomers::Number, Newcomers::Leave] {
            let scopes: BTreeSet<_> =
                jobs.iter().filter(|job| job.newcomers() == newcomers).map(|job| job.scope()).collect();
            let scopes: Vec<UserScope> = scopes.into_iter().cloned().collect();
            let found = self.shared.owners.numbers(&mut connection, &scopes, newcomers).await?;
            numbers.extend(scopes.into_iter().zip(found).filter_map(|(scope, number)| Some((scope, number?))));
        }
        let mut owners: Vec<i64> = numbers.values().copied().collect();
        owners.sort_unstable();
        let tx = Tx::begin(connection, self.shared.server.clone(), Kind::Write, &owners).await?;
        Ok((tx, numbers))
    }

    async fn on_desk(
        &self,
        tx: &mut Tx,
        jobs: &mut [Box<dyn Job>],
        numbers: HashMap<UserScope, i64>,
        now: Timestamp,
    ) -> Worked<()> {
        let mut wants = Wants::new(numbers);
        jobs.iter().for_each(|job| job.wants(&mut wants));
        let mut desk = group::load(tx, wants).await?;
        jobs.iter_mut().for_each(|job| job.run(&mut desk, now));
        group::flush(tx, &desk, self.shared.shard, now).await
    }
}

/// Why a transaction came to nothing, or may have.
enum Undone {
    /// Nothing of it was kept.
    Before(Stop),
    /// Its commit was not answered.
    InDoubt(Stop),
}

impl From<sqlx::Error> for Undone {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(error.into())
    }
}
