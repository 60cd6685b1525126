//! The database: what all ports on it have in common.

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use insula_context::{Clock, UserScope};
use insula_infra::Error;
use sqlx::PgPool;

use crate::{
    error::{self, Server, Stop, Worked},
    home::Home,
    owners::{Newcomers, Owners},
    transaction::{Kind, Tx},
    writer::Writer,
};

/// How often work is begun again that stood in another's way.
pub(crate) const TRIES: usize = 8;

/// One database with its connections and its writer.
pub(crate) struct Store {
    pub(crate) writer: Writer,
    pub(crate) shared: Arc<Shared>,
    pub(crate) home: Arc<Home>,
}

/// What work on the database needs, wherever it runs.
pub(crate) struct Shared {
    pub(crate) pool: PgPool,
    /// A replica, for reads that may be a moment late.
    pub(crate) replica: Option<PgPool>,
    pub(crate) server: Server,
    pub(crate) owners: Owners,
    pub(crate) clock: Arc<dyn Clock>,
    /// The owner who was served last by a claim, and with how many runs in this turn.
    pub(crate) turn: tokio::sync::Mutex<(i64, i32)>,
    /// Which rows of sums this process adds to.
    pub(crate) shard: i16,
}

/// Work of a transaction, on its arguments: it may be begun again.
pub(crate) type Work<A, T> = for<'t> fn(&'t mut Tx, &'t A) -> BoxFuture<'t, Worked<T>>;

impl Store {
    /// Reads as one owner, in one state of everything. `None` for an owner who has never written.
    pub(crate) async fn read<A, T>(
        &self,
        operation: &'static str,
        scope: &UserScope,
        with: A,
        work: Work<A, T>,
    ) -> Result<Option<T>, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let on = (self.shared.pool.clone(), Kind::Read);
        self.as_owner((operation, scope), Newcomers::Leave, on, with, work).await
    }

    /// As [`Store::read`], from the replica where there is one: for lists and sums, which nobody writes by.
    pub(crate) async fn read_late<A, T>(
        &self,
        operation: &'static str,
        scope: &UserScope,
        with: A,
        work: Work<A, T>,
    ) -> Result<Option<T>, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let pool = self.shared.replica.as_ref().unwrap_or(&self.shared.pool).clone();
        self.as_owner((operation, scope), Newcomers::Leave, (pool, Kind::Read), with, work).await
    }

    /// Writes as one owner, who gets a number if this is the first time.
    pub(crate) async fn write<A, T>(
        &self,
        operation: &'static str,
        scope: &UserScope,
        with: A,
        work: Work<A, T>,
    ) -> Result<T, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let on = (self.shared.pool.clone(), Kind::Write);
        let done = self.as_owner((operation, scope), Newcomers::Number, on, with, work).await?;
        done.ok_or_else(|| error::gone(operation))
    }

    /// Changes what an owner has; nothing is made for one who has nothing, and the answer is `None`.
    pub(crate) async fn change<A, T>(
        &self,
        operation: &'static str,
        scope: &UserScope,
        with: A,
        work: Work<A, T>,
    ) -> Result<Option<T>, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let on = (self.shared.pool.clone(), Kind::Write);
        self.as_owner((operation, scope), Newcomers::Leave, on, with, work).await
    }

    /// Does the work in a transaction that has entered this owner; `None` where there is none.
    async fn as_owner<A, T>(
        &self,
        (operation, scope): (&'static str, &UserScope),
        newcomers: Newcomers,
        (pool, kind): (PgPool, Kind),
        with: A,
        work: Work<A, T>,
    ) -> Result<Option<T>, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (shared, scope) = (Arc::clone(&self.shared), scope.clone());
        self.home
            .call(operation, async move {
                let owner = shared.number(operation, &scope, newcomers).await?;
                let Some(owner) = owner else { return Ok(None) };
                shared.transact_on(&pool, (operation, kind), &[owner], &with, work).await.map(Some)
            })
            .await
    }

    /// Works across owners: begins having entered nobody, and enters those whom a function names.
    pub(crate) async fn across<A, T>(
        &self,
        operation: &'static str,
        kind: Kind,
        with: A,
        work: Work<A, T>,
    ) -> Result<T, Error>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.home.call(operation, async move { shared.transact(operation, kind, &[], &with, work).await }).await
    }
}

impl Shared {
    pub(crate) async fn number(
        &self,
        operation: &'static str,
        scope: &UserScope,
        newcomers: Newcomers,
    ) -> Result<Option<i64>, Error> {
        let found = self.owners.number(&self.pool, scope, newcomers).await;
        found.map_err(|error| self.server.error(operation, error))
    }

    /// Does the work in one transaction, and again if it stood in another's way.
    pub(crate) async fn transact<A, T>(
        &self,
        operation: &'static str,
        kind: Kind,
        owners: &[i64],
        with: &A,
        work: Work<A, T>,
    ) -> Result<T, Error> {
        self.transact_on(&self.pool, (operation, kind), owners, with, work).await
    }

    async fn transact_on<A, T>(
        &self,
        pool: &PgPool,
        (operation, kind): (&'static str, Kind),
        owners: &[i64],
        with: &A,
        work: Work<A, T>,
    ) -> Result<T, Error> {
        let mut tries = 1;
        loop {
            match self.once(pool, kind, owners, with, work).await {
                Err(Stop::Failed(error)) if tries < TRIES && error::is_contended(&error) => tries += 1,
                outcome => return outcome.map_err(|stop| self.server.stop(operation, stop)),
            }
        }
    }

    async fn once<A, T>(&self, pool: &PgPool, kind: Kind, owners: &[i64], with: &A, work: Work<A, T>) -> Worked<T> {
        let mut tx = self.begin(pool, kind, owners).await?;
        let answer = match work(&mut tx, with).await {
            Ok(answer) => answer,
            Err(stop) => {
                // What was refused has taken nothing away yet; what failed may have lost the connection.
                let _connection = tx.roll_back().await;
                return Err(stop);
            }
        };
        tx.commit().await?;
        Ok(answer)
    }

    /// Connections that were idle while the server went away are found out here, one after the other: nothing was done yet.
    async fn begin(&self, pool: &PgPool, kind: Kind, owners: &[i64]) -> Worked<Tx> {
        let mut stale = pool.size();
        loop {
            let connection = pool.acquire().await?;
            match Tx::begin(connection, self.server.clone(), kind, owners).await {
                Err(error) if stale > 0 && error::is_lost(&error) => stale -= 1,
                begun => return Ok(begun?),
            }
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("server", &self.shared.server.name()).finish_non_exhaustive()
    }
}
