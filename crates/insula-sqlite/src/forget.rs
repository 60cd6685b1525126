//! Threads that have been over for long.

use insula_context::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use crate::{delete, error::Stop, transaction::Tx};

/// A thread and its youngest run, as a reader has found it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Over {
    thread: i64,
    last_run: i64,
}

/// Up to `max` threads without forks of which every run has ended before a time; the oldest threads first. One without
/// runs of its own counts from its making.
pub(crate) fn over(connection: &Connection, before: Timestamp, max: usize) -> Result<Vec<Over>, Stop> {
    const MAYBE: &str = "SELECT t.thread_no, t.last_run FROM threads t
        CROSS JOIN owners o ON o.owner_no = t.owner_no LEFT JOIN runs r ON r.run_no = t.last_run
        WHERE o.tenant_id <> '' AND r.place IS NULL AND coalesce(r.ended_at, t.created_at) < ?1
        AND NOT EXISTS (SELECT 1 FROM threads f WHERE f.base_no = t.thread_no AND f.base_no <> 0)
        ORDER BY t.thread_no";
    let mut maybe = connection.prepare_cached(MAYBE)?;
    let mut rows = maybe.query([before.as_micros()])?;
    let mut found = Vec::new();
    while found.len() < max {
        let Some(row) = rows.next()? else { break };
        let over = Over { thread: row.get(0)?, last_run: row.get(1)? };
        if is_over(connection, over.last_run, before)? {
            found.push(over);
        }
    }
    Ok(found)
}

/// Whether this run and those before it in its thread have ended before a time: the youngest is not always the last.
fn is_over(connection: &Connection, youngest: i64, before: Timestamp) -> rusqlite::Result<bool> {
    const RUN: &str = "SELECT prev_of_thread, place IS NULL AND ended_at < ?2 FROM runs WHERE run_no = ?1";
    let mut select = connection.prepare_cached(RUN)?;
    let mut next = youngest;
    while next != 0 {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?));
        let found = select.query_row(params![next, before.as_micros()], read).optional()?;
        let Some((previous, Some(true))) = found else { return Ok(false) };
        next = previous;
    }
    Ok(true)
}

/// Those of them that are as they were found.
pub(crate) fn doom_those(tx: &mut Tx<'_>, over: &[Over]) -> Result<Vec<i64>, Stop> {
    const STILL: &str = "SELECT owner_no FROM threads t WHERE thread_no = ?1 AND last_run = ?2
        AND NOT EXISTS (SELECT 1 FROM threads f WHERE f.base_no = t.thread_no AND f.base_no <> 0)";
    let mut doomed = Vec::new();
    for Over { thread, last_run } in over {
        let still = tx.connection.prepare_cached(STILL)?.query_row([thread, last_run], |row| row.get(0)).optional()?;
        if let Some(owner) = still {
            delete::doom(tx, owner, *thread)?;
            doomed.push(*thread);
        }
    }
    Ok(doomed)
}
