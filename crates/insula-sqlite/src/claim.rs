//! Handing out runs: whose time has come, owners in turn.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use insula_context::{ScopeIssuer, Timestamp, UserScope};
use insula_infra::{Claimed, Lease, WorkerId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    error::{File, Stop},
    questions,
    rows::{self, RUN_COLUMNS, run_columns},
    transaction::{Owner, Tx},
};

/// Runs that one claim puts into the line at most: a crash of a busy worker must not stop the writer for long.
const MOVED: i64 = 1_000;

/// How much a claim takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Most {
    pub(crate) runs: usize,
    /// Submitted runs of one owner that are held, by whomever.
    pub(crate) per_owner: usize,
}

/// Runs for this worker.
pub(crate) fn take(
    tx: &mut Tx<'_>,
    worker: &WorkerId,
    now: Timestamp,
    until: Timestamp,
    most: Most,
) -> Result<Vec<Claimed>, Stop> {
    wake_sleepers(tx, now)?;
    collect_expired(tx, now)?;
    let (mut claimed, mut busy) = (Vec::new(), HashMap::new());
    while claimed.len() < most.runs {
        let Some(run) = next_in_turn(tx, &mut busy, most.per_owner)? else { break };
        match hold(tx, run, worker, (now, until)) {
            Ok(run) => claimed.push(run),
            // One damaged row must not keep everybody's runs from being handed out.
            Err(Stop::Refused(error)) => tracing::error!(%error, "a run cannot be handed out"),
            Err(failed) => return Err(failed),
        }
    }
    Ok(claimed)
}

pub(crate) const WAKE: &str = "UPDATE runs SET place = 1 WHERE run_no IN
    (SELECT run_no FROM runs WHERE place = 2 AND due_at <= ?1 ORDER BY due_at LIMIT ?2)";

fn wake_sleepers(tx: &Tx<'_>, now: Timestamp) -> rusqlite::Result<()> {
    tx.connection.prepare_cached(WAKE)?.execute(params![now.as_micros(), MOVED]).map(|_| ())
}

pub(crate) const NEXT_WORKER: &str = "SELECT worker FROM runs WHERE place = 3 AND worker > ?1 ORDER BY worker LIMIT 1";
pub(crate) const EXPIRE: &str =
    "UPDATE runs SET place = 1, due_at = ?2, worker = NULL, lease_until = NULL WHERE run_no IN
    (SELECT run_no FROM runs WHERE place = 3 AND worker = ?1 AND lease_until <= ?2 LIMIT ?3)
    AND NOT EXISTS (SELECT 1 FROM workers WHERE worker = ?1 AND lease_until > ?2)";

/// Puts the runs of lost workers back into the line. A lease lasts as long as the run's or the worker's, whichever ends
/// later, so renewing is one row however many runs a worker holds.
fn collect_expired(tx: &Tx<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let mut next = tx.connection.prepare_cached(NEXT_WORKER)?;
    let mut worker = String::new();
    while let Some(holder) = next.query_row([&worker], |row| row.get::<_, String>(0)).optional()? {
        tx.connection.prepare_cached(EXPIRE)?.execute(params![holder, now.as_micros(), MOVED])?;
        worker = holder;
    }
    Ok(())
}

/// The first ready run of whoever's turn it is: the owner who was served last, as long as the weight allows, then the next
/// ones. Those who hold enough are passed over; `busy` says how many submitted runs each holds.
fn next_in_turn(tx: &mut Tx<'_>, busy: &mut HashMap<i64, usize>, per_owner: usize) -> rusqlite::Result<Option<i64>> {
    let (last, served) = tx.memory.turn;
    let mut next = tx.connection.prepare_cached(NEXT)?;
    let (mut after, mut is_around) = (last - 1, false);
    loop {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let found: Option<(i64, i64, i64, bool)> = next.query_row([after], read).optional()?;
        let Some((owner, run, weight, in_turn)) = found.filter(|(owner, ..)| !is_around || *owner <= last) else {
            if is_around || found.is_some() {
                return Ok(None);
            }
            (after, is_around) = (0, true);
            continue;
        };
        after = owner;
        // The last owner's turn is over, unless there is nobody else.
        if owner == last && served >= weight && !is_around {
            continue;
        }
        let held = match busy.entry(owner) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(held_of(tx.connection, owner, per_owner)?),
        };
        if *held < per_owner {
            *held += usize::from(in_turn);
            tx.memory.turn = (owner, if owner == last && !is_around { served + 1 } else { 1 });
            return Ok(Some(run));
        }
    }
}

pub(crate) const NEXT: &str = "SELECT r.owner_no, r.run_no, o.weight, r.in_turn
    FROM runs r INDEXED BY runs_ready CROSS JOIN owners o ON o.owner_no = r.owner_no
    WHERE r.place = 1 AND r.owner_no > ?1 ORDER BY r.owner_no, r.priority DESC, r.due_at, r.run_no LIMIT 1";

pub(crate) const HELD_OF: &str = "SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_held_of_owner
    WHERE owner_no = ?1 AND in_turn = 1 AND place = 3 LIMIT ?2)";

/// How many submitted runs of an owner are held; `per_owner` where there are more.
fn held_of(connection: &Connection, owner: i64, per_owner: usize) -> rusqlite::Result<usize> {
    let most = i64::try_from(per_owner).unwrap_or(i64::MAX);
    connection.prepare_cached(HELD_OF)?.query_row(params![owner, most], |row| row.get(0))
}

const HELD: &str = concat!(
    "SELECT ",
    run_columns!(),
    ", r.token, r.deadline, o.tenant_id, o.user_id, r.options, r.answered, r.in_turn
     FROM runs r JOIN threads t ON t.thread_no = r.thread_no JOIN owners o ON o.owner_no = r.owner_no WHERE r.run_no = ?1"
);

fn hold(tx: &mut Tx<'_>, run: i64, worker: &WorkerId, (now, until): (Timestamp, Timestamp)) -> Result<Claimed, Stop> {
    const HOLD: &str = "UPDATE runs SET place = 3, due_at = NULL, token = token + 1, worker = ?2, lease_until = ?3
        WHERE run_no = ?1";
    tx.connection.prepare_cached(HOLD)?.execute(params![run, worker.as_str(), until.as_micros()])?;
    let mut select = tx.connection.prepare_cached(HELD)?;
    let mut rows = select.query([run])?;
    let Some(row) = rows.next()? else { return Err(rusqlite::Error::QueryReturnedNoRows.into()) };
    let scope = scope(&row.get::<_, String>(RUN_COLUMNS + 2)?, &row.get::<_, String>(RUN_COLUMNS + 3)?, tx.file)?;
    let record = rows::record(row, &scope, tx.file)?;
    let lease = Lease { header: Arc::clone(&record.header), worker: worker.clone(), token: row.get(RUN_COLUMNS)? };
    let deadline = row.get::<_, Option<i64>>(RUN_COLUMNS + 1)?.map(Timestamp::from_micros);
    let options = row.get::<_, Option<String>>(RUN_COLUMNS + 4)?.and_then(rows::json);
    let answers = match row.get::<_, i64>(RUN_COLUMNS + 5)? {
        0 => Vec::new(),
        _ => questions::answers(tx.connection, run, tx.file)?,
    };
    if lease.token == 1 && row.get(RUN_COLUMNS + 6)? {
        leave_queue(tx, &scope)?;
    }
    Ok(Claimed { lease, run: record, deadline, options, answers, now })
}

/// One run fewer of this owner waits for its first claim.
fn leave_queue(tx: &mut Tx<'_>, scope: &UserScope) -> rusqlite::Result<()> {
    let Some(owner) = tx.owner(scope)? else { return Ok(()) };
    tx.set_owner(scope, Owner { queued: (owner.queued - 1).max(0), ..owner })
}

/// The owner of a stored run: authenticated when it was submitted, and read back here.
#[expect(clippy::disallowed_methods, reason = "the scope was issued when the run was submitted, and is only read back")]
pub(crate) fn scope(tenant: &str, user: &str, file: &File) -> Result<UserScope, Stop> {
    let damaged = |_| Stop::Refused(file.corrupt("an owner", "its tenant or user is damaged"));
    ScopeIssuer::new().issue(tenant, user).map_err(damaged)
}
