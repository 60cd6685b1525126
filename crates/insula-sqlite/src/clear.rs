//! Removing the rows of doomed threads, a limited number at a time.

use rusqlite::{OptionalExtension, params};

use crate::{payloads, questions, transaction::Tx, usage, webhooks};

/// Rows that one step looks at, at most: a few milliseconds.
const ROWS: usize = 1_000;

/// What a step has done.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Threads of which nothing is left: the first ones of those that were given.
    pub(crate) threads: usize,
    /// Runs that were removed.
    pub(crate) runs: u64,
}

/// Removes some of what is left of these threads.
pub(crate) fn step(tx: &mut Tx<'_>, threads: &[i64]) -> rusqlite::Result<Step> {
    let (mut step, mut left) = (Step::default(), ROWS);
    for thread in threads {
        let Some(mut doomed) = Doomed::find(tx, *thread)? else {
            step.threads += 1;
            continue;
        };
        step.runs += doomed.remove_runs(tx, &mut left)?;
        doomed.remove_log(tx, &mut left)?;
        if left == 0 {
            doomed.keep(tx)?;
            break;
        }
        doomed.remove_rest(tx)?;
        step.threads += 1;
    }
    Ok(step)
}

/// What is left of a thread.
struct Doomed {
    thread: i64,
    owner: i64,
    /// Whether there is still an owner with a chain of runs to be kept whole.
    has_owner: bool,
    last_run: i64,
    last_pos: i64,
    above: i64,
}

/// A run that is to be removed.
struct Run {
    number: i64,
    id: String,
    prev_of_owner: i64,
    prev_of_thread: i64,
    asked: i64,
}

impl Doomed {
    fn find(tx: &Tx<'_>, thread: i64) -> rusqlite::Result<Option<Self>> {
        const FIND: &str = "SELECT d.owner_no, coalesce(o.tenant_id, '') <> '', d.last_run, d.last_pos, d.above
            FROM doomed d LEFT JOIN owners o ON o.owner_no = d.owner_no WHERE d.thread_no = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let (owner, has_owner) = (row.get(0)?, row.get(1)?);
            Ok(Self { thread, owner, has_owner, last_run: row.get(2)?, last_pos: row.get(3)?, above: row.get(4)? })
        };
        tx.connection.prepare_cached(FIND)?.query_row([thread], read).optional()
    }

    fn keep(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        const KEEP: &str = "UPDATE doomed SET last_run = ?2, last_pos = ?3, above = ?4 WHERE thread_no = ?1";
        let row = [self.thread, self.last_run, self.last_pos, self.above];
        tx.connection.prepare_cached(KEEP)?.execute(row).map(|_| ())
    }

    fn remove_runs(&mut self, tx: &mut Tx<'_>, left: &mut usize) -> rusqlite::Result<u64> {
        let mut removed = 0;
        while self.last_run != 0 && *left > 0 {
            let Some(run) = Run::find(tx, self.last_run)? else {
                self.last_run = 0;
                break;
            };
            if self.has_owner && !self.unlink(tx, &run, left)? {
                break;
            }
            run.remove(tx, self.owner)?;
            self.last_run = run.prev_of_thread;
            removed += 1;
            *left = left.saturating_sub(1);
        }
        Ok(removed)
    }

    /// Closes the gap in the owner's chain of runs: `false` if the run above it is not found yet.
    ///
    /// Runs are taken out from the youngest to the oldest, so the search goes on where it has ended.
    fn unlink(&mut self, tx: &mut Tx<'_>, run: &Run, left: &mut usize) -> rusqlite::Result<bool> {
        const YOUNGEST: &str = "UPDATE owners SET last_run = ?3 WHERE owner_no = ?1 AND last_run = ?2";
        const LINK: &str = "UPDATE runs SET prev_of_owner = ?3 WHERE run_no = ?1 AND prev_of_owner = ?2";
        const BEFORE: &str = "SELECT prev_of_owner FROM runs WHERE run_no = ?1 AND owner_no = ?2";
        let (number, previous) = (run.number, run.prev_of_owner);
        if tx.connection.prepare_cached(YOUNGEST)?.execute([self.owner, number, previous])? > 0 {
            tx.forget_owners();
            return Ok(true);
        }
        let (mut before, mut link) = (tx.connection.prepare_cached(BEFORE)?, tx.connection.prepare_cached(LINK)?);
        if self.above <= number || !before.exists([self.above, self.owner])? {
            self.above = self.somewhere_above(tx, number)?;
        }
        while self.above > number {
            if link.execute([self.above, number, previous])? > 0 {
                return Ok(true);
            }
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            self.above = before.query_row([self.above, self.owner], |row| row.get(0)).optional()?.unwrap_or(0);
        }
        Ok(true)
    }

    /// The owner's next run is near if the owner is busy, and few steps from the youngest otherwise.
    fn somewhere_above(&self, tx: &Tx<'_>, run: i64) -> rusqlite::Result<i64> {
        const NEAR: &str = "SELECT run_no FROM
            (SELECT run_no, owner_no FROM runs WHERE run_no > ?2 ORDER BY run_no LIMIT 256)
            WHERE owner_no = ?1 LIMIT 1";
        const HEAD: &str = "SELECT last_run FROM owners WHERE owner_no = ?1";
        let near = tx.connection.prepare_cached(NEAR)?.query_row([self.owner, run], |row| row.get(0)).optional()?;
        near.map_or_else(|| tx.connection.prepare_cached(HEAD)?.query_row([self.owner], |row| row.get(0)), Ok)
    }

    fn remove_log(&mut self, tx: &Tx<'_>, left: &mut usize) -> rusqlite::Result<()> {
        const REMOVE: &str = "DELETE FROM log WHERE pos = ?1 AND thread_no = ?2 RETURNING prev_pos";
        let mut remove = tx.connection.prepare_cached(REMOVE)?;
        while self.last_run == 0 && self.last_pos != 0 && *left > 0 {
            let previous = remove.query_row([self.last_pos, self.thread], |row| row.get(0)).optional()?;
            self.last_pos = previous.unwrap_or(0);
            *left -= 1;
        }
        Ok(())
    }

    fn remove_rest(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        for statement in ["DELETE FROM marks WHERE thread_no = ?1", "DELETE FROM doomed WHERE thread_no = ?1"] {
            tx.connection.prepare_cached(statement)?.execute([self.thread])?;
        }
        Ok(())
    }
}

impl Run {
    fn find(tx: &Tx<'_>, number: i64) -> rusqlite::Result<Option<Self>> {
        const FIND: &str = "SELECT run_id, prev_of_owner, prev_of_thread, asked FROM runs WHERE run_no = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let (id, prev_of_owner) = (row.get(0)?, row.get(1)?);
            Ok(Self { number, id, prev_of_owner, prev_of_thread: row.get(2)?, asked: row.get(3)? })
        };
        tx.connection.prepare_cached(FIND)?.query_row([number], read).optional()
    }

    fn remove(&self, tx: &Tx<'_>, owner: i64) -> rusqlite::Result<()> {
        const STATE: &str = "DELETE FROM state WHERE owner_no = ?1 AND space = 'run' AND holder = ?2";
        const REMOVE: &str = "DELETE FROM runs WHERE run_no = ?1";
        if self.asked > 0 {
            questions::close_all(tx, self.number)?;
        }
        payloads::forget(tx, owner, self.number)?;
        webhooks::forget(tx, owner, self.number)?;
        tx.connection.prepare_cached(STATE)?.execute(params![owner, self.id])?;
        tx.connection.prepare_cached(REMOVE)?.execute([self.number]).map(|_| ())
    }
}

/// Removes some of what is left of an owner without threads, and says whether nothing is left.
pub(crate) fn rest_of(tx: &mut Tx<'_>, owner: i64) -> rusqlite::Result<bool> {
    const MANY: [&str; 2] = [
        "DELETE FROM state WHERE owner_no = ?1 AND (space, holder, name) IN
            (SELECT space, holder, name FROM state WHERE owner_no = ?1 LIMIT ?2)",
        "DELETE FROM payloads WHERE rowid IN (SELECT rowid FROM payloads WHERE owner_no = ?1 LIMIT ?2)",
    ];
    const FEW: [&str; 5] = [
        "DELETE FROM payload_uses WHERE owner_no = ?1",
        "DELETE FROM quota WHERE owner_no = ?1",
        "DELETE FROM ahead WHERE owner_no = ?1",
        "DELETE FROM webhooks WHERE owner_no = ?1",
        "DELETE FROM owners WHERE owner_no = ?1",
    ];
    for statement in MANY {
        let most = i64::try_from(ROWS).unwrap_or(i64::MAX);
        if tx.connection.prepare_cached(statement)?.execute([owner, most])? == ROWS {
            return Ok(false);
        }
    }
    usage::forget(tx, owner)?;
    for statement in FEW {
        tx.connection.prepare_cached(statement)?.execute([owner])?;
    }
    Ok(true)
}
