//! Handing out runs: whose time has come, owners in turn.

use std::sync::Arc;

use insula_context::{ScopeIssuer, Timestamp, UserScope};
use insula_infra::{Claimed, Lease, WorkerId};
use rusqlite::{OptionalExtension, params};

use crate::{
    error::{File, Stop},
    rows::{self, RUN_COLUMNS, run_columns},
    transaction::Tx,
};

/// Runs that one claim puts into the line at most: a crash of a busy worker must not stop the writer for long.
const MOVED: i64 = 1_000;

/// Up to `max` runs for this worker.
pub(crate) fn take(
    tx: &mut Tx<'_>,
    worker: &WorkerId,
    now: Timestamp,
    until: Timestamp,
    max: usize,
) -> Result<Vec<Claimed>, Stop> {
    wake_sleepers(tx, now)?;
    collect_expired(tx, now)?;
    let mut claimed = Vec::new();
    while claimed.len() < max {
        let Some(run) = next_in_turn(tx)? else { break };
        match hold(tx, run, worker, until) {
            Ok(run) => claimed.push(run),
            // One damaged row must not keep everybody's runs from being handed out.
            Err(Stop::Refused(error)) => tracing::error!(%error, "a run cannot be handed out"),
            Err(failed) => return Err(failed),
        }
    }
    Ok(claimed)
}

fn wake_sleepers(tx: &Tx<'_>, now: Timestamp) -> rusqlite::Result<()> {
    const WAKE: &str = "UPDATE runs SET place = 1 WHERE run_no IN
        (SELECT run_no FROM runs WHERE place = 2 AND due_at <= ?1 ORDER BY due_at LIMIT ?2)";
    tx.connection.prepare_cached(WAKE)?.execute(params![now.as_micros(), MOVED]).map(|_| ())
}

/// Puts the runs of lost workers back into the line. A lease lasts as long as the run's or the worker's, whichever ends
/// later, so renewing is one row however many runs a worker holds.
fn collect_expired(tx: &Tx<'_>, now: Timestamp) -> rusqlite::Result<()> {
    const NEXT_WORKER: &str = "SELECT worker FROM runs WHERE place = 3 AND worker > ?1 ORDER BY worker LIMIT 1";
    const EXPIRE: &str = "UPDATE runs SET place = 1, due_at = ?2, worker = NULL, lease_until = NULL WHERE run_no IN
        (SELECT run_no FROM runs WHERE place = 3 AND worker = ?1 AND lease_until <= ?2 LIMIT ?3)
        AND NOT EXISTS (SELECT 1 FROM workers WHERE worker = ?1 AND lease_until > ?2)";
    let mut next = tx.connection.prepare_cached(NEXT_WORKER)?;
    let mut worker = String::new();
    while let Some(holder) = next.query_row([&worker], |row| row.get::<_, String>(0)).optional()? {
        tx.connection.prepare_cached(EXPIRE)?.execute(params![holder, now.as_micros(), MOVED])?;
        worker = holder;
    }
    Ok(())
}

/// The oldest ready run of the owner after the one who was served last.
fn next_in_turn(tx: &mut Tx<'_>) -> rusqlite::Result<Option<i64>> {
    const NEXT: &str = "SELECT owner_no, run_no FROM runs WHERE place = 1 AND owner_no > ?1
        ORDER BY owner_no, due_at, run_no LIMIT 1";
    let mut next = tx.connection.prepare_cached(NEXT)?;
    for after in [tx.memory.turn, 0] {
        let found = next.query_row([after], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((owner, run)) = found {
            tx.memory.turn = owner;
            return Ok(Some(run));
        }
    }
    Ok(None)
}

const HELD: &str = concat!(
    "SELECT ",
    run_columns!(),
    ", r.token, r.deadline, o.tenant_id, o.user_id FROM runs r JOIN threads t ON t.thread_no = r.thread_no
     JOIN owners o ON o.owner_no = r.owner_no WHERE r.run_no = ?1"
);

fn hold(tx: &Tx<'_>, run: i64, worker: &WorkerId, until: Timestamp) -> Result<Claimed, Stop> {
    const HOLD: &str = "UPDATE runs SET place = 3, due_at = NULL, token = token + 1, worker = ?2, lease_until = ?3
        WHERE run_no = ?1";
    tx.connection.prepare_cached(HOLD)?.execute(params![run, worker.as_str(), until.as_micros()])?;
    let mut select = tx.connection.prepare_cached(HELD)?;
    let mut rows = select.query([run])?;
    let Some(row) = rows.next()? else { return Err(rusqlite::Error::QueryReturnedNoRows.into()) };
    let scope = scope(&row.get::<_, String>(RUN_COLUMNS + 2)?, &row.get::<_, String>(RUN_COLUMNS + 3)?, tx.file)?;
    let run = rows::record(row, &scope, tx.file)?;
    let lease = Lease { header: Arc::clone(&run.header), worker: worker.clone(), token: row.get(RUN_COLUMNS)? };
    let deadline = row.get::<_, Option<i64>>(RUN_COLUMNS + 1)?.map(Timestamp::from_micros);
    Ok(Claimed { lease, run, deadline, options: None, answers: Vec::new(), now: until })
}

/// The owner of a stored run: authenticated when it was submitted, and read back here.
#[expect(clippy::disallowed_methods, reason = "the scope was issued when the run was submitted, and is only read back")]
pub(crate) fn scope(tenant: &str, user: &str, file: &File) -> Result<UserScope, Stop> {
    let damaged = |_| Stop::Refused(file.corrupt("an owner", "its tenant or user is damaged"));
    ScopeIssuer::new().issue(tenant, user).map_err(damaged)
}
