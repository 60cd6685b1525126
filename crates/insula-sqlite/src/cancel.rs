//! Wishes to stop runs.

use insula_context::{CancelReason, RunId, Timestamp, UserScope};
use insula_infra::{CancelRequest, RunFilter, RunStatus};
use rusqlite::{OptionalExtension, params};

use crate::{ahead, error::Stop, list::List, transaction::Tx};

/// Records the wish to stop a run, also one that is not there yet.
pub(crate) fn request(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    run: &RunId,
    reason: &CancelReason,
    now: Timestamp,
) -> Result<CancelRequest, Stop> {
    const FIND: &str = "SELECT r.run_no, r.status, r.place FROM runs r JOIN threads t ON t.thread_no = r.thread_no
        WHERE r.owner_no = ?1 AND r.run_id = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found: Option<(i64, String, Option<i64>)> = match tx.owner(scope)? {
        None => None,
        Some(owner) => {
            tx.connection.prepare_cached(FIND)?.query_row(params![owner.number, run.as_str()], read).optional()?
        }
    };
    let Some((number, status, place)) = found else {
        ahead::write_down(tx, scope, run, reason, now)?;
        return Ok(CancelRequest::Ahead);
    };
    if place.is_none() {
        let damaged = || tx.file.corrupt(format!("run {run} of {scope}"), "its status is damaged");
        return Ok(CancelRequest::Ended(RunStatus::parse(&status).ok_or_else(damaged)?));
    }
    ask(tx, number, reason, now)?;
    Ok(CancelRequest::Recorded)
}

/// Records the wish to stop every open run of a filter, and says which those are: the youngest first.
pub(crate) fn request_all(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    filter: &RunFilter,
    reason: &CancelReason,
    now: Timestamp,
) -> Result<Vec<RunId>, Stop> {
    let Some(owner) = tx.owner(scope)? else { return Ok(Vec::new()) };
    let list = List { connection: tx.connection, scope, owner, filter, file: tx.file };
    let open = list.open(i64::MAX, usize::MAX)?;
    for (run, _) in &open {
        ask(tx, *run, reason, now)?;
    }
    Ok(open.into_iter().map(|(_, record)| record.header.run.clone()).collect())
}

/// The first wish is kept. Whoever holds the run is told; if nobody does, it is ready at once.
pub(crate) fn ask(tx: &Tx<'_>, run: i64, reason: &CancelReason, now: Timestamp) -> rusqlite::Result<()> {
    const ASK: &str = "UPDATE runs SET cancel_by = ?2, cancel_why = ?3 WHERE run_no = ?1 AND cancel_by IS NULL";
    const WAKE: &str = "UPDATE runs SET place = 1, due_at = ?2 WHERE run_no = ?1 AND place IN (2, 4)";
    tx.connection.prepare_cached(ASK)?.execute(params![run, reason.by, reason.why])?;
    tx.connection.prepare_cached(WAKE)?.execute(params![run, now.as_micros()]).map(|_| ())
}
