//! What becomes of others when a run ends: its parent is woken, the next run of its thread has its turn, its call is
//! due, and what it has asked and reserved is gone. All in the transaction of the end.

use insula_context::{CancelReason, Timestamp};
use insula_infra::{RunChange, RunHeader};
use rusqlite::{OptionalExtension, params};

use crate::{
    budgets, cancel,
    questions::{self, Counts},
    transaction::Tx,
    webhooks,
};

/// A run after an append.
pub(crate) struct After {
    pub(crate) owner: i64,
    pub(crate) run: i64,
    pub(crate) thread: i64,
    pub(crate) in_turn: bool,
    pub(crate) counts: Counts,
}

impl After {
    /// It has ended. A run that has nothing and belongs to nobody costs no statement.
    pub(crate) fn ended(
        &self,
        tx: &mut Tx<'_>,
        header: &RunHeader,
        cancelled: Option<&CancelReason>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        if self.counts.asked > 0 {
            questions::close_all(tx, self.run)?;
        }
        if let Some(parent) = &header.parent {
            wake_parent(tx, self.owner, parent.as_str(), now)?;
        }
        if self.in_turn {
            give_turn(tx, self.thread, now)?;
        }
        if header.parent.is_none() {
            webhooks::ring(tx, self.owner, self.run, now)?;
        }
        stop_children(tx, self.owner, header, cancelled, now)?;
        budgets::give_back(tx, &header.scope, Some(&header.run))
    }
}

/// Nobody waits any more for the children of a run that has ended.
fn stop_children(
    tx: &Tx<'_>,
    owner: i64,
    header: &RunHeader,
    cancelled: Option<&CancelReason>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let run = header.run.as_str();
    let children: Vec<i64> = {
        let mut select = tx.connection.prepare_cached(CHILDREN)?;
        select.query_map(params![owner, run], |row| row.get(0))?.collect::<Result<_, _>>()?
    };
    for child in children {
        let reason = cancelled.cloned().unwrap_or_else(RunChange::orphaned);
        cancel::ask(tx, child, &reason, now)?;
    }
    Ok(())
}

pub(crate) const CHILDREN: &str = "SELECT run_no FROM runs INDEXED BY runs_children
    WHERE owner_no = ?1 AND parent_run_id = ?2 AND place IS NOT NULL";

fn wake_parent(tx: &Tx<'_>, owner: i64, parent: &str, now: Timestamp) -> rusqlite::Result<()> {
    const WAKE: &str = "UPDATE runs SET place = 1, due_at = ?3
        WHERE owner_no = ?1 AND run_id = ?2 AND place = 2 AND status = 'waiting'";
    tx.connection.prepare_cached(WAKE)?.execute(params![owner, parent, now.as_micros()]).map(|_| ())
}

pub(crate) const FIRST: &str = "SELECT run_no, place = 4 FROM runs INDEXED BY runs_in_turn
    WHERE thread_no = ?1 AND in_turn = 1 AND place IS NOT NULL ORDER BY run_no LIMIT 1";

/// The oldest open run of those that go one at a time, if it waits for its turn, has it now.
fn give_turn(tx: &Tx<'_>, thread: i64, now: Timestamp) -> rusqlite::Result<()> {
    const FREE: &str = "UPDATE runs SET place = iif(due_at > ?2, 2, 1), due_at = max(due_at, ?2) WHERE run_no = ?1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
    let first = tx.connection.prepare_cached(FIRST)?.query_row([thread], read).optional()?;
    if let Some((run, true)) = first {
        tx.connection.prepare_cached(FREE)?.execute(params![run, now.as_micros()])?;
    }
    Ok(())
}

/// Whether one of the children that this change waits for has ended. One that is not there any more has.
pub(crate) fn has_ended_child(tx: &Tx<'_>, owner: i64, change: &RunChange) -> rusqlite::Result<bool> {
    const OPEN: &str = "SELECT 1 FROM runs WHERE owner_no = ?1 AND run_id = ?2 AND place IS NOT NULL";
    let RunChange::Waiting { children, .. } = change else { return Ok(false) };
    for child in children {
        if !tx.connection.prepare_cached(OPEN)?.exists(params![owner, child.as_str()])? {
            return Ok(true);
        }
    }
    Ok(false)
}
