//! Schedules: what is due, and moving on from slot to slot.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, ScheduleRecord, ScheduleStore};
use rusqlite::{Connection, Row, params};

use crate::{
    claim,
    error::{File, Stop},
    rows,
    store::Store,
    transaction::Tx,
};

#[async_trait]
impl ScheduleStore for Store {
    async fn put_schedule(&self, scope: &UserScope, schedule: ScheduleRecord) -> Result<(), Error> {
        const PUT: &str = "INSERT INTO schedules (owner_no, name, created_at, next_at, spec) VALUES (?1, ?2, ?3, ?4, ?5)
            ON CONFLICT DO UPDATE SET created_at = excluded.created_at, next_at = excluded.next_at, spec = excluded.spec";
        let scope = scope.clone();
        self.writer
            .call(move |tx| {
                let owner = tx.owner_or_new(&scope)?.number;
                let ScheduleRecord { name, spec, created_at, next_at } = &schedule;
                let next_at = next_at.map(Timestamp::as_micros);
                let row = params![owner, name, created_at.as_micros(), next_at, spec.get()];
                tx.connection.prepare_cached(PUT)?.execute(row)?;
                Ok(())
            })
            .await
    }

    async fn schedules(&self, scope: &UserScope) -> Result<Vec<ScheduleRecord>, Error> {
        const ALL: &str = "SELECT name, spec, created_at, next_at FROM schedules
            WHERE owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2) ORDER BY name";
        let (scope, file) = (scope.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let mut select = connection.prepare_cached(ALL)?;
                let mut rows = select.query(params![scope.tenant().as_str(), scope.user().as_str()])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    found.push(schedule(row, &file)?);
                }
                Ok(found)
            })
            .await
    }

    async fn delete_schedule(&self, scope: &UserScope, name: &str) -> Result<bool, Error> {
        const DELETE: &str = "DELETE FROM schedules WHERE owner_no = ?1 AND name = ?2";
        let (scope, name) = (scope.clone(), name.to_owned());
        self.writer
            .call(move |tx| {
                let Some(owner) = tx.owner(&scope)? else { return Ok(false) };
                Ok(tx.connection.prepare_cached(DELETE)?.execute(params![owner.number, name])? > 0)
            })
            .await
    }
}

/// What is due, whoever's it is.
pub(crate) fn due(
    connection: &Connection,
    now: Timestamp,
    max: usize,
    file: &File,
) -> Result<Vec<(UserScope, ScheduleRecord)>, Stop> {
    let mut select = connection.prepare_cached(DUE)?;
    let mut rows = select.query(params![now.as_micros(), i64::try_from(max).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        match owned(row, file) {
            Ok(due) => found.push(due),
            // One damaged row must not keep everybody's runs from beginning.
            Err(Stop::Refused(error)) => tracing::error!(%error, "a schedule cannot be read"),
            Err(failed) => return Err(failed),
        }
    }
    Ok(found)
}

pub(crate) const DUE: &str = "SELECT s.name, s.spec, s.created_at, s.next_at, o.tenant_id, o.user_id
    FROM schedules s INDEXED BY schedules_due CROSS JOIN owners o ON o.owner_no = s.owner_no
    WHERE s.next_at <= ?1 ORDER BY s.next_at LIMIT ?2";

fn owned(row: &Row<'_>, file: &File) -> Result<(UserScope, ScheduleRecord), Stop> {
    let scope = claim::scope(&row.get::<_, String>(4)?, &row.get::<_, String>(5)?, file)?;
    Ok((scope, schedule(row, file)?))
}

/// Moves one on, if it still stands where the caller saw it.
pub(crate) fn advance(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    name: &str,
    from: Timestamp,
    to: Option<Timestamp>,
) -> Result<bool, Stop> {
    const ADVANCE: &str = "UPDATE schedules SET next_at = ?4 WHERE owner_no = ?1 AND name = ?2 AND next_at = ?3";
    let Some(owner) = tx.owner(scope)? else { return Ok(false) };
    let step = params![owner.number, name, from.as_micros(), to.map(Timestamp::as_micros)];
    Ok(tx.connection.prepare_cached(ADVANCE)?.execute(step)? > 0)
}

fn schedule(row: &Row<'_>, file: &File) -> Result<ScheduleRecord, Stop> {
    let name: String = row.get(0)?;
    let damaged = || file.corrupt(format!("schedule \"{name}\""), "it is not JSON");
    Ok(ScheduleRecord {
        spec: rows::json(row.get(1)?).ok_or_else(damaged)?,
        created_at: Timestamp::from_micros(row.get(2)?),
        next_at: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros),
        name,
    })
}
