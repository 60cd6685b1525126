//! A user's threads: their list, and forks of them.

use insula_context::{ThreadId, Timestamp, UserScope};
use insula_infra::{Error, Fork, ThreadRecord};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    error::{File, Stop},
    list::{self, Chain},
    transaction::{Owner, Tx},
};

const CHAIN: Chain = Chain {
    enter: "SELECT prev_thread FROM threads WHERE thread_no = ?1 AND owner_no = ?2",
    step: "SELECT t.prev_thread, t.thread_id, t.created_at, t.head, b.thread_id, t.base_seq
        FROM threads t LEFT JOIN threads b ON b.thread_no = t.base_no WHERE t.thread_no = ?1",
};

/// Threads with a number below `before`, youngest first.
pub(crate) fn list(
    connection: &Connection,
    owner: &Owner,
    before: i64,
    most: usize,
    file: &File,
) -> Result<Vec<(i64, ThreadRecord)>, Stop> {
    let mut select = connection.prepare_cached(CHAIN.step)?;
    let mut next = list::enter(connection, &CHAIN, before, owner.number, owner.last_thread)?;
    let mut found = Vec::new();
    while next != 0 && found.len() < most {
        let mut rows = select.query([next])?;
        let missing = || file.corrupt("a list of threads", format!("thread number {next} is missing"));
        let row = rows.next()?.ok_or_else(missing)?;
        if next < before {
            found.push((next, record(row, file)?));
        }
        next = row.get(0)?;
    }
    Ok(found)
}

/// The owner's thread of this name.
pub(crate) fn one(
    connection: &Connection,
    scope: &UserScope,
    thread: &ThreadId,
    file: &File,
) -> Result<Option<ThreadRecord>, Stop> {
    const ONE: &str = "SELECT t.prev_thread, t.thread_id, t.created_at, t.head, b.thread_id, t.base_seq
        FROM threads t LEFT JOIN threads b ON b.thread_no = t.base_no WHERE t.thread_id = ?3
        AND t.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)";
    let mut select = connection.prepare_cached(ONE)?;
    let mut rows = select.query([scope.tenant().as_str(), scope.user().as_str(), thread.as_str()])?;
    rows.next()?.map(|row| record(row, file)).transpose()
}

fn record(row: &Row<'_>, file: &File) -> Result<ThreadRecord, Stop> {
    let id = |text: String| ThreadId::new(text).map_err(|_| file.corrupt("a thread", "its id is damaged"));
    let base = row.get::<_, Option<String>>(4)?.map(id).transpose()?;
    let seq = row.get(5)?;
    Ok(ThreadRecord {
        thread_id: id(row.get(1)?)?,
        created_at: Timestamp::from_micros(row.get(2)?),
        head: row.get(3)?,
        forked_from: base.map(|thread_id| Fork { thread_id, seq }),
    })
}

/// Makes a thread without runs.
pub(crate) fn create(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    thread: &ThreadId,
    at: Timestamp,
) -> Result<ThreadRecord, Stop> {
    let owner = tx.owner_or_new(scope)?;
    if tx.find_thread.exists(params![owner.number, thread.as_str()])? {
        return Err(Error::ThreadExists { thread: thread.clone() }.into());
    }
    let number = tx.next_thread();
    let (name, at_micros) = (thread.as_str(), at.as_micros());
    tx.insert_thread.execute(params![number, owner.number, name, owner.last_thread, at_micros, 0, 0, 0])?;
    tx.set_owner(scope, Owner { last_thread: number, ..owner })?;
    Ok(ThreadRecord { thread_id: thread.clone(), created_at: at, head: 0, forked_from: None })
}

/// Makes a thread that points to the beginning of another.
pub(crate) fn fork(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    fork: &Fork,
    into: &ThreadId,
    at: Timestamp,
) -> Result<Option<ThreadRecord>, Stop> {
    const FORK: &str = "INSERT INTO threads
        (thread_no, owner_no, thread_id, prev_thread, created_at, head, last_pos, last_run, base_no, base_seq)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?6)";
    let Some(owner) = tx.owner(scope)? else { return Ok(None) };
    let mut find = |thread: &ThreadId| {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        tx.find_thread.query_row(params![owner.number, thread.as_str()], read).optional()
    };
    let base: Option<(i64, u64)> = find(&fork.thread_id)?;
    let Some((base, _)) = base.filter(|(_, head)| *head >= fork.seq) else { return Ok(None) };
    if find(into)?.is_some() {
        return Err(Error::ThreadExists { thread: into.clone() }.into());
    }
    let number = tx.next_thread();
    let values = params![number, owner.number, into.as_str(), owner.last_thread, at.as_micros(), fork.seq, base];
    tx.connection.prepare_cached(FORK)?.execute(values)?;
    tx.set_owner(scope, Owner { last_thread: number, ..owner })?;
    let (thread_id, head, forked_from) = (into.clone(), fork.seq, Some(fork.clone()));
    Ok(Some(ThreadRecord { thread_id, created_at: at, head, forked_from }))
}
