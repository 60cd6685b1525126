//! Schedules: what is due, and moving on from slot to slot.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, ScheduleRecord, ScheduleStore};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{Server, Worked},
    owners, rows,
    store::Store,
    stored::{self, most},
    transaction::{Kind, Tx},
};

#[async_trait]
impl ScheduleStore for Store {
    async fn put_schedule(&self, scope: &UserScope, schedule: ScheduleRecord) -> Result<(), Error> {
        self.write("write a schedule", scope, schedule, |tx, schedule| Box::pin(put(tx, schedule))).await
    }

    async fn schedules(&self, scope: &UserScope) -> Result<Vec<ScheduleRecord>, Error> {
        Ok(self.read("read schedules", scope, (), |tx, ()| Box::pin(all(tx))).await?.unwrap_or_default())
    }

    async fn delete_schedule(&self, scope: &UserScope, name: &str) -> Result<bool, Error> {
        let with = name.to_owned();
        let deleted = self.change("delete a schedule", scope, with, |tx, name| Box::pin(delete(tx, name))).await?;
        Ok(deleted.unwrap_or(false))
    }
}

impl Store {
    /// What is due by the store's clock, whoever's it is, and what that clock says.
    pub(crate) async fn read_due_schedules(
        &self,
        max: usize,
    ) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        let now = self.shared.clock.now();
        let due =
            self.across("read due schedules", Kind::Read, (now, max), |tx, (now, max)| Box::pin(due(tx, *now, *max)));
        Ok((due.await?, now))
    }

    /// Moves one on, if it still stands where the caller saw it.
    pub(crate) async fn move_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let with = (name.to_owned(), from, to);
        let moved = self
            .change("move a schedule on", scope, with, |tx, (name, from, to)| Box::pin(advance(tx, name, *from, *to)));
        Ok(moved.await?.unwrap_or(false))
    }
}

async fn put(tx: &mut Tx, schedule: &ScheduleRecord) -> Worked<()> {
    const PUT: &str = "INSERT INTO insula.schedules (owner_no, name, created_at, next_at, spec)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (owner_no, name)
        DO UPDATE SET created_at = excluded.created_at, next_at = excluded.next_at, spec = excluded.spec";
    let ScheduleRecord { name, spec, created_at, next_at } = schedule;
    let owner = tx.owner;
    let put = sqlx::query(PUT).bind(owner).bind(name).bind(created_at.as_micros());
    put.bind(next_at.map(Timestamp::as_micros)).bind(spec.get()).execute(tx.on()).await?;
    Ok(())
}

async fn all(tx: &mut Tx) -> Worked<Vec<ScheduleRecord>> {
    const ALL: &str = "SELECT name, spec, created_at, next_at FROM insula.schedules WHERE owner_no = $1 ORDER BY name";
    let owner = tx.owner;
    let rows = sqlx::query(ALL).bind(owner).fetch_all(tx.on()).await?;
    rows.iter().map(|row| schedule(row, &tx.server)).collect()
}

async fn delete(tx: &mut Tx, name: &str) -> Worked<bool> {
    const DELETE: &str = "DELETE FROM insula.schedules WHERE owner_no = $1 AND name = $2";
    let owner = tx.owner;
    Ok(sqlx::query(DELETE).bind(owner).bind(name).execute(tx.on()).await?.rows_affected() > 0)
}

async fn due(tx: &mut Tx, now: Timestamp, max: usize) -> Worked<Vec<(UserScope, ScheduleRecord)>> {
    const OWNERS: &str = "SELECT insula.owners_with_due_schedules($1, $2)";
    const DUE: &str = "SELECT s.name, s.spec, s.created_at, s.next_at, o.tenant_id, o.user_id
        FROM insula.schedules s JOIN insula.owners o ON o.owner_no = s.owner_no
        WHERE s.owner_no = ANY($1) AND s.next_at <= $2 ORDER BY s.next_at LIMIT $3";
    let (now, max) = (now.as_micros(), most(max));
    let owners: Vec<i64> = sqlx::query_scalar(OWNERS).bind(now).bind(max).fetch_one(tx.on()).await?;
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    tx.enter(&owners).await?;
    let rows = sqlx::query(DUE).bind(owners).bind(now).bind(max).fetch_all(tx.on()).await?;
    rows.iter().filter_map(|row| stored::readable(owned(row, &tx.server)).transpose()).collect()
}

fn owned(row: &PgRow, server: &Server) -> Worked<(UserScope, ScheduleRecord)> {
    let scope = owners::read_back(row.try_get(4)?, row.try_get(5)?, server)?;
    Ok((scope, schedule(row, server)?))
}

async fn advance(tx: &mut Tx, name: &str, from: Timestamp, to: Option<Timestamp>) -> Worked<bool> {
    const ADVANCE: &str = "UPDATE insula.schedules SET next_at = $4 WHERE owner_no = $1 AND name = $2 AND next_at = $3";
    let owner = tx.owner;
    let advance = sqlx::query(ADVANCE).bind(owner).bind(name).bind(from.as_micros());
    Ok(advance.bind(to.map(Timestamp::as_micros)).execute(tx.on()).await?.rows_affected() > 0)
}

fn schedule(row: &PgRow, server: &Server) -> Worked<ScheduleRecord> {
    let name: String = row.try_get(0)?;
    let damaged = || server.corrupt(format!("schedule \"{name}\""), "it is not JSON");
    Ok(ScheduleRecord {
        spec: rows::json(row.try_get(1)?).ok_or_else(damaged)?,
        created_at: Timestamp::from_micros(row.try_get(2)?),
        next_at: row.try_get::<Option<i64>, _>(3)?.map(Timestamp::from_micros),
        name,
    })
}
