//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    CancelRequest, Error, Page, PageRequest, RunFilter, RunRecord, RunStatus, RunStore, ThreadRecord,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    error::{File, Stop},
    queue,
    rows::{self, run_columns},
    store::Store,
};

/// Which column tells the number, behind the ones that make a record.
const RUN_NO: usize = 16;

#[async_trait]
impl RunStore for Store {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        let (scope, run, file) = (scope.clone(), run.clone(), self.file.clone());
        self.readers.read(move |connection| one(connection, &scope, &run, &file)).await
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        let (before, limit) = (before(page)?, page.limit.max(1));
        let (scope, filter, file) = (scope.clone(), filter.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(owner) = owner(connection, &scope)? else { return Ok(Page { items: Vec::new(), next: None }) };
                let list = List { connection, scope: &scope, owner, filter: &filter, file: &file };
                let found = match &filter.thread {
                    Some(thread) => list.of_thread(thread, before, limit + 1)?,
                    None => list.of_owner(before, limit + 1)?,
                };
                Ok(cut(found, limit))
            })
            .await
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        let (before, limit) = (before(page)?, page.limit.max(1));
        let (scope, file) = (scope.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(owner) = owner(connection, &scope)? else { return Ok(Page { items: Vec::new(), next: None }) };
                Ok(cut(threads(connection, owner, before, limit + 1, &file)?, limit))
            })
            .await
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<Option<CancelRequest>, Error> {
        let (scope, run, now) = (scope.clone(), run.clone(), self.clock.now());
        self.writer.call(move |tx| queue::request_cancel(tx, &scope, &run, &reason, now)).await
    }
}

/// The number that the page is to stay below.
fn before(page: &PageRequest) -> Result<i64, Error> {
    let Some(cursor) = &page.cursor else { return Ok(i64::MAX) };
    let number = cursor.parse().ok().filter(|number: &i64| *number > 0);
    number.ok_or_else(|| Error::InvalidCursor { cursor: cursor.clone() })
}

/// One entry more than the page holds says that there is another page.
fn cut<T>(mut found: Vec<(i64, T)>, limit: usize) -> Page<T> {
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|(number, _)| number.to_string());
    Page { items: found.into_iter().map(|(_, item)| item).collect(), next }
}

/// The number of this owner, if there is one yet. Every list starts from it.
pub(crate) fn owner(connection: &Connection, scope: &UserScope) -> rusqlite::Result<Option<i64>> {
    const OWNER: &str = "SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2";
    let names = (scope.tenant().as_str(), scope.user().as_str());
    connection.prepare_cached(OWNER)?.query_row(names, |row| row.get(0)).optional()
}

fn one(connection: &Connection, scope: &UserScope, run: &RunId, file: &File) -> Result<Option<RunRecord>, Stop> {
    const ONE: &str = concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_id = ?3
          AND r.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)"
    );
    let mut select = connection.prepare_cached(ONE)?;
    let mut rows = select.query(params![scope.tenant().as_str(), scope.user().as_str(), run.as_str()])?;
    rows.next()?.map(|row| rows::record(row, scope, file)).transpose()
}

struct List<'a> {
    connection: &'a Connection,
    scope: &'a UserScope,
    owner: i64,
    filter: &'a RunFilter,
    file: &'a File,
}

impl List<'_> {
    /// Over all threads. Open questions have an index of their own, because people look for them; other filters look
    /// through the owner's runs.
    fn of_owner(&self, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        const ALL: &str = concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs r INDEXED BY runs_by_age JOIN threads t ON t.thread_no = r.thread_no
              WHERE r.owner_no = ?1 AND r.run_no < ?2 AND (?3 IS NULL OR r.status = ?3) AND (?4 IS NULL OR r.agent = ?4)
              ORDER BY r.run_no DESC LIMIT ?5"
        );
        const WAITING: &str = concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs r INDEXED BY runs_waiting JOIN threads t ON t.thread_no = r.thread_no
              WHERE r.owner_no = ?1 AND r.run_no < ?2 AND r.status = 'waiting' AND r.status = ?3
              AND (?4 IS NULL OR r.agent = ?4) ORDER BY r.run_no DESC LIMIT ?5"
        );
        let RunFilter { status, agent, .. } = self.filter;
        let sql = if *status == Some(RunStatus::Waiting) { WAITING } else { ALL };
        let mut select = self.connection.prepare_cached(sql)?;
        let mut rows =
            select.query(params![self.owner, before, status.map(RunStatus::as_str), agent, most as u64])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((row.get(RUN_NO)?, rows::record(row, self.scope, self.file)?));
        }
        Ok(found)
    }

    /// Of one thread: each of its runs knows the one before it.
    fn of_thread(&self, thread: &ThreadId, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        const RUN: &str = concat!(
            "SELECT ",
            run_columns!(),
            ", r.prev_run FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_no = ?1"
        );
        let mut select = self.connection.prepare_cached(RUN)?;
        let (mut next, mut found) = (self.enter(thread, before)?, Vec::new());
        while next != 0 && found.len() < most {
            let mut rows = select.query([next])?;
            let Some(row) = rows.next()? else { break };
            let number: i64 = row.get(RUN_NO)?;
            next = row.get(rows::RUN_COLUMNS)?;
            let record = rows::record(row, self.scope, self.file)?;
            if number < before && self.passes(&record) {
                found.push((number, record));
            }
        }
        Ok(found)
    }

    /// The run to start from: the one before the cursor's, or the thread's youngest.
    fn enter(&self, thread: &ThreadId, before: i64) -> rusqlite::Result<i64> {
        const ENTER: &str = "SELECT coalesce((SELECT prev_run FROM runs WHERE run_no = ?3 AND thread_no = t.thread_no),
            t.last_run) FROM threads t WHERE t.owner_no = ?1 AND t.thread_id = ?2";
        let key = params![self.owner, thread.as_str(), before];
        Ok(self.connection.prepare_cached(ENTER)?.query_row(key, |row| row.get(0)).optional()?.unwrap_or(0))
    }

    fn passes(&self, run: &RunRecord) -> bool {
        self.filter.status.is_none_or(|status| status == run.status)
            && self.filter.agent.as_ref().is_none_or(|agent| **agent == *run.header.agent)
    }
}

fn threads(
    connection: &Connection,
    owner: i64,
    before: i64,
    most: usize,
    file: &File,
) -> Result<Vec<(i64, ThreadRecord)>, Stop> {
    const THREADS: &str = "SELECT thread_no, thread_id, created_at, head FROM threads INDEXED BY threads_by_age
        WHERE owner_no = ?1 AND thread_no < ?2 ORDER BY thread_no DESC LIMIT ?3";
    let mut select = connection.prepare_cached(THREADS)?;
    let mut rows = select.query(params![owner, before, most as u64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, thread(row, file)?));
    }
    Ok(found)
}

fn thread(row: &Row<'_>, file: &File) -> Result<ThreadRecord, Stop> {
    let id = ThreadId::new(row.get::<_, String>(1)?);
    let thread_id = id.map_err(|_| file.corrupt("a thread", "its id is damaged"))?;
    Ok(ThreadRecord { thread_id, created_at: Timestamp::from_micros(row.get(2)?), head: row.get(3)? })
}
