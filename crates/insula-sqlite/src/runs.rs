//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    CancelRequest, Deleted, Error, Fork, Page, PageRequest, RunFilter, RunRecord, RunStatus, RunStore, ThreadRecord,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    error::{File, Stop},
    queue,
    rows::{self, run_columns},
    store::Store,
    transaction::{self, Owner},
};

/// The longest page.
const MOST: usize = 10_000;

/// Which column tells the number, behind the ones that make a record.
const RUN_NO: usize = 16;

#[async_trait]
impl RunStore for Store {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        let (scope, run, file) = (scope.clone(), run.clone(), self.file.clone());
        self.readers.read(move |connection| one(connection, &scope, &run, &file)).await
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        let (before, limit) = (before(page)?, page.limit.clamp(1, MOST));
        let (scope, filter, file) = (scope.clone(), filter.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(owner) = owner(connection, &scope)? else { return Ok(Page { items: Vec::new(), next: None }) };
                let list = List { connection, scope: &scope, owner, filter: &filter, file: &file };
                Ok(cut(list.read(before, limit + 1)?, limit))
            })
            .await
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        let (before, limit) = (before(page)?, page.limit.clamp(1, MOST));
        let (scope, file) = (scope.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(owner) = owner(connection, &scope)? else { return Ok(Page { items: Vec::new(), next: None }) };
                Ok(cut(threads(connection, &owner, before, limit + 1, &file)?, limit))
            })
            .await
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        let (scope, run, now) = (scope.clone(), run.clone(), self.clock.now());
        let done = self.writer.call(move |tx| queue::request_cancel(tx, &scope, &run, &reason, now)).await?;
        Ok(done.unwrap_or(CancelRequest::Ahead))
    }
    async fn request_cancel_all(
        &self,
        _scope: &UserScope,
        _filter: &RunFilter,
        _reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        Err(Error::Unavailable { operation: "cancel", component: "not built yet", source: None })
    }

    async fn fork_thread(
        &self,
        _scope: &UserScope,
        _fork: &Fork,
        _into: &ThreadId,
        _at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        Err(Error::Unavailable { operation: "fork", component: "not built yet", source: None })
    }

    async fn delete_thread(&self, _scope: &UserScope, _thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        Err(Error::Unavailable { operation: "delete", component: "not built yet", source: None })
    }

    async fn delete_user(&self, _scope: &UserScope) -> Result<Deleted, Error> {
        Err(Error::Unavailable { operation: "delete", component: "not built yet", source: None })
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

/// This owner, if there is one yet. Every list starts here.
fn owner(connection: &Connection, scope: &UserScope) -> rusqlite::Result<Option<Owner>> {
    let names = (scope.tenant().as_str(), scope.user().as_str());
    connection.prepare_cached(transaction::FIND_OWNER)?.query_row(names, Owner::read).optional()
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
    owner: Owner,
    filter: &'a RunFilter,
    file: &'a File,
}

/// Where a chain is entered and how it goes on: both read one number for another.
struct Chain {
    /// The entry before ?1, if ?1 belongs to the chain of ?2.
    enter: &'static str,
    /// The entry ?1 and the number of the one before it.
    step: &'static str,
}

const OF_OWNER: Chain = Chain {
    enter: "SELECT prev_of_owner FROM runs WHERE run_no = ?1 AND owner_no = ?2",
    step: concat!(
        "SELECT ",
        run_columns!(),
        ", r.prev_of_owner FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_no = ?1"
    ),
};

const OF_THREAD: Chain = Chain {
    enter: "SELECT prev_of_thread FROM runs WHERE run_no = ?1 AND thread_no = ?2",
    step: concat!(
        "SELECT ",
        run_columns!(),
        ", r.prev_of_thread FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_no = ?1"
    ),
};

impl List<'_> {
    fn read(&self, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        if let Some(thread) = &self.filter.thread {
            let Some((thread, youngest)) = self.thread(thread)? else { return Ok(Vec::new()) };
            let start = enter(self.connection, &OF_THREAD, before, thread, youngest)?;
            return self.follow(&OF_THREAD, start, before, most);
        }
        if self.filter.status == Some(RunStatus::Waiting) {
            return self.waiting(before, most);
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
            let record = rows::record(row, self.scope, self.file)?;
            if number < before && self.passes(&record) {
                found.push((number, record));
            }
        }
        Ok(found)
    }

    /// Open questions have an index of their own, because people look for them.
    fn waiting(&self, before: i64, most: usize) -> Result<Vec<(i64, RunRecord)>, Stop> {
        const WAITING: &str = concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs r INDEXED BY runs_waiting JOIN threads t ON t.thread_no = r.thread_no
              WHERE r.owner_no = ?1 AND r.run_no < ?2 AND r.status = 'waiting' ORDER BY r.run_no DESC"
        );
        let mut select = self.connection.prepare_cached(WAITING)?;
        let mut rows = select.query(params![self.owner.number, before])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let record = rows::record(row, self.scope, self.file)?;
            if found.len() >= most {
                break;
            }
            if self.passes(&record) {
                found.push((row.get(RUN_NO)?, record));
            }
        }
        Ok(found)
    }

    fn passes(&self, run: &RunRecord) -> bool {
        self.filter.status.is_none_or(|status| status == run.status)
            && self.filter.parent.as_ref().is_none_or(|parent| Some(parent) == run.header.parent.as_ref())
            && self.filter.agent.as_ref().is_none_or(|agent| **agent == *run.header.agent)
    }

    fn broken(&self, number: i64) -> Stop {
        self.file
            .corrupt(format!("the list of runs of {}", self.scope), format!("run number {number} is missing"))
            .into()
    }
}

/// The youngest entry of a chain that may belong to the page.
fn enter(connection: &Connection, chain: &Chain, before: i64, holder: i64, youngest: i64) -> rusqlite::Result<i64> {
    if before == i64::MAX {
        return Ok(youngest);
    }
    let previous = connection.prepare_cached(chain.enter)?.query_row([before, holder], |row| row.get(0)).optional()?;
    Ok(previous.unwrap_or(youngest))
}

fn threads(
    connection: &Connection,
    owner: &Owner,
    before: i64,
    most: usize,
    file: &File,
) -> Result<Vec<(i64, ThreadRecord)>, Stop> {
    const CHAIN: Chain = Chain {
        enter: "SELECT prev_thread FROM threads WHERE thread_no = ?1 AND owner_no = ?2",
        step: "SELECT prev_thread, thread_id, created_at, head FROM threads WHERE thread_no = ?1",
    };
    let mut select = connection.prepare_cached(CHAIN.step)?;
    let mut next = enter(connection, &CHAIN, before, owner.number, owner.last_thread)?;
    let mut found = Vec::new();
    while next != 0 && found.len() < most {
        let mut rows = select.query([next])?;
        let missing = || file.corrupt("a list of threads", format!("thread number {next} is missing"));
        let row = rows.next()?.ok_or_else(missing)?;
        if next < before {
            found.push((next, thread(row, file)?));
        }
        next = row.get(0)?;
    }
    Ok(found)
}

fn thread(row: &Row<'_>, file: &File) -> Result<ThreadRecord, Stop> {
    let id = ThreadId::new(row.get::<_, String>(1)?);
    let thread_id = id.map_err(|_| file.corrupt("a thread", "its id is damaged"))?;
    Ok(ThreadRecord {
        thread_id,
        created_at: Timestamp::from_micros(row.get(2)?),
        head: row.get(3)?,
        forked_from: None,
    })
}
