//! Lists of runs: chains from the youngest to the oldest, and those that have not ended.

use insula_context::{ThreadId, UserScope};
use insula_infra::{RunFilter, RunRecord};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::{File, Stop},
    rows::{self, run_columns},
    transaction::Owner,
};

/// Which column tells the number among the ones that make a record.
const RUN_NO: usize = 16;

/// The runs of an owner that a filter lets through.
pub(crate) struct List<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) scope: &'a UserScope,
    pub(crate) owner: Owner,
    pub(crate) filter: &'a RunFilter,
    pub(crate) file: &'a File,
}

/// Where a chain is entered and how it goes on: both read one number for another.
pub(crate) struct Chain {
    /// The entry before ?1, if ?1 belongs to the chain of ?2.
    pub(crate) enter: &'static str,
    /// The entry ?1 and the number of the one before it.
    pub(crate) step: &'static str,
}

const OF_OWNER: Chain = Chain {
    enter: "SELECT prev_of_owner FROM runs WHERE run_no = ?1 AND owner_no = ?2",
    step: concat!(
        "SELECT ",
        run_columns!(),
        ", r.prev_of_owner, t.thread_no FROM runs r LEFT JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_no = ?1"
    ),
};

const OF_THREAD: Chain = Chain {
    enter: "SELECT prev_of_thread FROM runs WHERE run_no = ?1 AND thread_no = ?2",
    step: concat!(
        "SELECT ",
        run_columns!(),
        ", r.prev_of_thread, t.thread_no FROM runs r LEFT JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_no = ?1"
    ),
};

pub(crate) const OPEN: &str = concat!(
    "SELECT ",
    run_columns!(),
    " FROM runs r INDEXED BY runs_open CROSS JOIN threads t ON t.thread_no = r.thread_no
      WHERE r.owner_no = ?1 AND r.run_no < ?2 AND r.place IS NOT NULL ORDER BY r.run_no DESC"
);

impl List<'_> {
    pub(crate) fn read(&self, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        if self.filter.status.is_some_and(|status| !status.is_terminal()) {
            return self.open(before, most);
        }
        if let Some(thread) = &self.filter.thread {
            let Some((thread, youngest)) = self.thread(thread)? else { return Ok(Vec::new()) };
            let start = enter(self.connection, &OF_THREAD, before, thread, youngest)?;
            return self.follow(&OF_THREAD, start, before, most);
        }
        let start = enter(self.connection, &OF_OWNER, before, self.owner.number, self.owner.last_run)?;
        self.follow(&OF_OWNER, start, before, most)
    }

    /// This owner's thread and its youngest run.
    fn thread(&self, thread: &ThreadId) -> rusqlite::Result<Option<(i64, i64)>> {
        const THREAD: &str = "SELECT thread_no, last_run FROM threads WHERE owner_no = ?1 AND thread_id = ?2";
        let key = params![self.owner.number, thread.as_str()];
        self.connection.prepare_cached(THREAD)?.query_row(key, |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    fn follow(&self, chain: &Chain, start: i64, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        let mut select = self.connection.prepare_cached(chain.step)?;
        let (mut next, mut found) = (start, Vec::new());
        while next != 0 && found.len() < most {
            let mut rows = select.query([next])?;
            let Some(row) = rows.next()? else { return Err(self.broken(next)) };
            let number = next;
            next = row.get(rows::RUN_COLUMNS)?;
            if row.get::<_, Option<i64>>(rows::RUN_COLUMNS + 1)?.is_none() {
                // Its thread is being deleted.
                continue;
            }
            let record = rows::record(row, self.scope, self.file)?;
            if number < before && self.passes(&record) {
                found.push((number, record));
            }
        }
        Ok(found)
    }

    /// Runs that have not ended are in an index of their own: looking for them costs the same after any number of ends.
    pub(crate) fn open(&self, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        let mut select = self.connection.prepare_cached(OPEN)?;
        let mut rows = select.query(params![self.owner.number, before])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            if found.len() >= most {
                break;
            }
            let record = rows::record(row, self.scope, self.file)?;
            if self.passes(&record) {
                found.push((row.get(RUN_NO)?, record));
            }
        }
        Ok(found)
    }

    fn passes(&self, run: &RunRecord) -> bool {
        self.filter.status.is_none_or(|status| status == run.status)
            && self.filter.parent.as_ref().is_none_or(|parent| Some(parent) == run.header.parent.as_ref())
            && self.filter.thread.as_ref().is_none_or(|thread| *thread == run.header.thread)
            && self.filter.agent.as_ref().is_none_or(|agent| **agent == *run.header.agent)
    }

    fn broken(&self, number: i64) -> Stop {
        self.file
            .corrupt(format!("the list of runs of {}", self.scope), format!("run number {number} is missing"))
            .into()
    }
}

/// The youngest entry of a chain that may belong to the page.
pub(crate) fn enter(
    connection: &Connection,
    chain: &Chain,
    before: i64,
    holder: i64,
    youngest: i64,
) -> rusqlite::Result<i64> {
    if before == i64::MAX {
        return Ok(youngest);
    }
    let previous = connection.prepare_cached(chain.enter)?.query_row([before, holder], |row| row.get(0)).optional()?;
    Ok(previous.unwrap_or(youngest))
}
