//! Counts over all users. Every one is read from an index in which there is nothing of runs that have ended.

use async_trait::async_trait;
use insula_context::Timestamp;
use insula_infra::{Census, Counts, Error, NodeRecord};
use rusqlite::Connection;

use crate::store::Store;

#[async_trait]
impl Census for Store {
    async fn counts(&self) -> Result<Counts, Error> {
        let now = self.clock.now();
        self.readers.read(move |connection| Ok(counts(connection, now)?)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, Error> {
        let now = self.clock.now();
        self.readers.read(move |connection| Ok(nodes(connection, now)?)).await
    }
}

pub(crate) const OPEN: &str = "SELECT count(*) FROM runs INDEXED BY runs_open WHERE place IS NOT NULL";
pub(crate) const USERS: &str =
    "SELECT count(*) FROM (SELECT DISTINCT owner_no FROM runs INDEXED BY runs_open WHERE place IS NOT NULL)";
pub(crate) const READY: &str = "SELECT count(*), min(due_at) FROM runs INDEXED BY runs_ready WHERE place = 1";
pub(crate) const HELD: &str = "SELECT count(*) FROM runs INDEXED BY runs_held WHERE place = 3";
/// Those whose time has come are put among the ready ones by the next claim, and are counted there now.
pub(crate) const ASLEEP: &str = "SELECT count(*), count(*) FILTER (WHERE due_at <= ?1), min(due_at),
        count(*) FILTER (WHERE status = 'waiting' AND (due_at IS NULL OR due_at > ?1))
    FROM runs INDEXED BY runs_asleep WHERE place = 2";
pub(crate) const WEBHOOKS: &str = "SELECT count(*) FILTER (WHERE state = 'due'), count(*) FILTER (WHERE state = 'dead')
    FROM webhooks INDEXED BY webhooks_open WHERE state <> 'delivered'";

fn counts(connection: &Connection, now: Timestamp) -> rusqlite::Result<Counts> {
    let micros = now.as_micros();
    let one = |sql| connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, u64>(0));
    let (open, users, running) = (one(OPEN)?, one(USERS)?, one(HELD)?);
    let (ready, ready_since): (u64, Option<i64>) =
        connection.prepare_cached(READY)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (asleep, due, first_due, waiting): (u64, u64, Option<i64>, u64) = connection
        .prepare_cached(ASLEEP)?
        .query_row([micros], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let (webhooks_due, webhooks_dead) =
        connection.prepare_cached(WEBHOOKS)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let oldest = ready_since.into_iter().chain(first_due).map(Timestamp::from_micros).min();
    let waited = oldest.map_or(0, |since| now.since(since).as_millis());
    Ok(Counts {
        queued: ready + due,
        delayed: asleep - due - waiting,
        blocked: open.saturating_sub(ready + asleep + running),
        running,
        waiting,
        users,
        oldest_queued_ms: u64::try_from(waited).unwrap_or(u64::MAX),
        webhooks_due,
        webhooks_dead,
    })
}

fn nodes(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<NodeRecord>> {
    const NODES: &str = "SELECT worker, sum(runs), max(lease_until) FROM
        (SELECT worker, 1 AS runs, lease_until FROM runs INDEXED BY runs_held WHERE place = 3
         UNION ALL SELECT worker, 0, lease_until FROM workers)
        GROUP BY worker HAVING sum(runs) > 0 OR max(lease_until) > ?1 ORDER BY worker";
    let mut select = connection.prepare_cached(NODES)?;
    let read = |row: &rusqlite::Row<'_>| {
        let lease_until = Timestamp::from_micros(row.get(2)?);
        Ok(NodeRecord { worker: row.get(0)?, runs: row.get(1)?, lease_until })
    };
    select.query_map([now.as_micros()], read)?.collect()
}
