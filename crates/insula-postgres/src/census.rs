//! Counts over all users. Every one is read from an index in which there is nothing of runs that have ended.

use async_trait::async_trait;
use insula_context::Timestamp;
use insula_infra::{Census, Counts, Error, NodeRecord};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::Worked,
    store::Store,
    transaction::{Kind, Tx},
};

#[async_trait]
impl Census for Store {
    async fn counts(&self) -> Result<Counts, Error> {
        let now = self.shared.clock.now();
        self.across("count", Kind::Read, now, |tx, now| Box::pin(counts(tx, *now))).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>, Error> {
        let now = self.shared.clock.now();
        self.across("read nodes", Kind::Read, now, |tx, now| Box::pin(nodes(tx, *now))).await
    }
}

async fn counts(tx: &mut Tx, now: Timestamp) -> Worked<Counts> {
    const COUNTS: &str = "SELECT open, users, ready, held, asleep, due, waiting, calls_due, calls_dead, ready_since,
        first_due FROM insula.counts($1)";
    let row = sqlx::query(COUNTS).bind(now.as_micros()).fetch_one(tx.on()).await?;
    let count = |column| number(&row, column);
    let (ready, running, asleep) = (count(2)?, count(3)?, count(4)?);
    // Those whose time has come are put among the ready ones by the next claim, and are counted there now.
    let (due, waiting) = (count(5)?, count(6)?);
    let since: [Option<i64>; 2] = [row.try_get(9)?, row.try_get(10)?];
    let oldest = since.into_iter().flatten().map(Timestamp::from_micros).min();
    let waited = oldest.map_or(0, |since| now.since(since).as_millis());
    Ok(Counts {
        queued: ready + due,
        delayed: asleep.saturating_sub(due + waiting),
        blocked: count(0)?.saturating_sub(ready + asleep + running),
        running,
        waiting,
        users: count(1)?,
        oldest_queued_ms: u64::try_from(waited).unwrap_or(u64::MAX),
        webhooks_due: count(7)?,
        webhooks_dead: count(8)?,
    })
}

async fn nodes(tx: &mut Tx, now: Timestamp) -> Worked<Vec<NodeRecord>> {
    const NODES: &str = "SELECT worker, runs, lease_until FROM insula.nodes($1)";
    let rows = sqlx::query(NODES).bind(now.as_micros()).fetch_all(tx.on()).await?;
    let read = |row: &PgRow| {
        let lease_until = Timestamp::from_micros(row.try_get(2)?);
        Ok(NodeRecord { worker: row.try_get(0)?, runs: number(row, 1)?, lease_until })
    };
    rows.iter().map(read).collect()
}

fn number(row: &PgRow, column: usize) -> sqlx::Result<u64> {
    Ok(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}
