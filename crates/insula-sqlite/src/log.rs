//! A user's events.
//!
//! The log stands in order of appends, under no second index. Each chunk knows the one before it in its thread, so a page
//! is read backwards from its end: from the thread's head, from the run's last chunk, or from the next of the sparse marks,
//! so that reading a long thread page by page is linear. A fork's log begins with chunks of other threads (`lineage`).

mod lineage;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Error, Event, EventLog, EventPage, PayloadHash, RunHeader,
    chunk::{self, Stored},
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    error::{File, Stop},
    store::Store,
};

#[async_trait]
impl EventLog for Store {
    async fn thread_events(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        let (scope, thread, file) = (scope.clone(), thread.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(found) = Thread::find(connection, &scope, &thread)? else { return Ok(None) };
                let (upto, head) = (after.saturating_add(limit as u64), found.head);
                let mut page = Page::new(connection, &scope, &thread, &file);
                for part in lineage::parts(connection, found, after, &file)? {
                    for chunk in part.thread.chunks(connection, after, upto.min(part.upto), None, &file)? {
                        page.add(&chunk, (after, part.upto), limit)?;
                    }
                }
                Ok(Some(page.finish(head)))
            })
            .await
    }

    async fn run_events(
        &self,
        scope: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        let (scope, run, file) = (scope.clone(), run.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(found) = Run::find(connection, &scope, &run, &file)? else { return Ok(None) };
                let mut page = Page::new(connection, &scope, &found.thread_id, &file);
                for chunk in found.chunks(connection, after, limit as u64, &file)? {
                    page.add(&chunk, (after, u64::MAX), limit)?;
                }
                Ok(Some(page.finish(found.thread.head)))
            })
            .await
    }

    async fn payload(&self, scope: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error> {
        const BYTES: &str = "SELECT bytes FROM payloads WHERE hash = ?3
            AND owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)";
        let (scope, hash, file) = (scope.clone(), *hash, self.file.clone());
        self.readers
            .read(move |connection| {
                let key = params![scope.tenant().as_str(), scope.user().as_str(), hash.as_bytes()];
                let bytes =
                    connection.prepare_cached(BYTES)?.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional()?;
                let Some(bytes) = bytes else { return Ok(None) };
                let found = PayloadHash::of(&bytes);
                if found != hash {
                    return Err(file
                        .corrupt(format!("payload {hash}"), format!("its bytes have the hash {found}"))
                        .into());
                }
                Ok(Some(Bytes::from(bytes)))
            })
            .await
    }
}

/// A thread as a reader finds it.
#[derive(Debug)]
struct Thread {
    number: i64,
    head: u64,
    last_pos: i64,
    /// The thread that the first `base_seq` events are read from, or 0.
    base: i64,
    base_seq: u64,
}

impl Thread {
    fn find(connection: &Connection, scope: &UserScope, thread: &ThreadId) -> rusqlite::Result<Option<Self>> {
        const FIND: &str = "SELECT thread_no, head, last_pos, base_no, base_seq FROM threads WHERE thread_id = ?3
            AND owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)";
        let key = params![scope.tenant().as_str(), scope.user().as_str(), thread.as_str()];
        connection.prepare_cached(FIND)?.query_row(key, Self::read).optional()
    }

    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let (number, head, last_pos) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Self { number, head, last_pos, base: row.get(3)?, base_seq: row.get(4)? })
    }

    /// The chunks of its own with events in `after < seq <= upto`, oldest first; none behind `end`, if there is one.
    fn chunks(
        &self,
        connection: &Connection,
        after: u64,
        upto: u64,
        end: Option<i64>,
        file: &File,
    ) -> Result<Vec<Chunk>, Stop> {
        const MARK: &str =
            "SELECT pos, last_seq FROM marks WHERE thread_no = ?1 AND last_seq >= ?2 ORDER BY last_seq LIMIT 1";
        if after >= self.head || upto <= after || upto <= self.base_seq {
            return Ok(Vec::new());
        }
        let mut from = end.map_or((self.last_pos, Some(self.head)), |pos| (pos, None));
        if upto < self.head {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, Some(row.get(1)?)));
            let mark = connection.prepare_cached(MARK)?.query_row(params![self.number, upto], read).optional()?;
            from = mark.filter(|(pos, _)| *pos < from.0).unwrap_or(from);
        }
        self.walk(connection, from, after, upto, file)
    }

    /// From a chunk, of which the last `seq` may be known, back to the one after `after`.
    fn walk(
        &self,
        connection: &Connection,
        from: (i64, Option<u64>),
        after: u64,
        upto: u64,
        file: &File,
    ) -> Result<Vec<Chunk>, Stop> {
        const CHUNK: &str = "SELECT thread_no, run_no, prev_pos, first_seq, count, sum, body FROM log WHERE pos = ?1";
        let mut select = connection.prepare_cached(CHUNK)?;
        let ((mut pos, mut expected), mut chunks) = (from, Vec::new());
        while pos != 0 {
            let read = select.query_row([pos], |row| Chunk::read(row, upto)).optional()?;
            let lost = || file.corrupt(self.place(expected), "its chunk of the log is missing");
            let chunk = read.ok_or_else(lost)?;
            chunk.check(self, expected, file)?;
            (pos, expected) = (chunk.previous, Some(chunk.first - 1));
            let is_first = chunk.first <= after + 1;
            if chunk.first <= upto {
                chunks.push(chunk);
            }
            if is_first {
                break;
            }
        }
        chunks.reverse();
        Ok(chunks)
    }

    fn place(&self, seq: Option<u64>) -> String {
        format!("event {} of thread number {}", seq.unwrap_or(self.head), self.number)
    }
}

/// A chunk as it is stored.
#[derive(Debug)]
pub(crate) struct Chunk {
    thread: i64,
    run: i64,
    previous: i64,
    first: u64,
    count: u64,
    sum: i64,
    body: Vec<u8>,
}

impl Chunk {
    /// The body of a chunk that lies behind the page is left where it is.
    fn read(row: &rusqlite::Row<'_>, upto: u64) -> rusqlite::Result<Self> {
        let first = row.get(3)?;
        let body = if first <= upto { row.get(6)? } else { Vec::new() };
        Ok(Self {
            thread: row.get(0)?,
            run: row.get(1)?,
            previous: row.get(2)?,
            first,
            count: row.get(4)?,
            sum: row.get(5)?,
            body,
        })
    }

    /// Whether it is the chunk that the one behind it (or nobody, for the last one) points to.
    fn check(&self, thread: &Thread, expected: Option<u64>, file: &File) -> Result<(), Error> {
        let last = self.first.checked_add(self.count).map(|end| end - 1);
        let fits = expected.is_none() || expected == last;
        if self.thread == thread.number && self.first > 0 && self.count > 0 && fits {
            return Ok(());
        }
        Err(file.corrupt(thread.place(expected), "its chunk of the log belongs elsewhere"))
    }

    /// Its events, if they are what was written.
    pub(crate) fn events(&self, file: &File) -> Result<Vec<Stored<'_>>, Error> {
        if chunk::checksum(&self.body) != self.sum {
            return Err(self.damaged(file, "its checksum is wrong"));
        }
        let events = chunk::decode(&self.body).map_err(|error| self.damaged(file, &error.to_string()))?;
        if events.len() as u64 != self.count {
            return Err(self.damaged(file, "its count is wrong"));
        }
        Ok(events)
    }

    pub(crate) fn damaged(&self, file: &File, detail: &str) -> Error {
        file.corrupt(format!("the chunk at event {} of thread number {}", self.first, self.thread), detail)
    }
}

/// A run as a reader of events finds it.
#[derive(Debug)]
pub(crate) struct Run {
    number: i64,
    pub(crate) token: u64,
    first_pos: i64,
    last_pos: i64,
    thread: Thread,
    thread_id: ThreadId,
}

impl Run {
    pub(crate) fn find(
        connection: &Connection,
        scope: &UserScope,
        run: &RunId,
        file: &File,
    ) -> Result<Option<Self>, Stop> {
        const FIND: &str =
            "SELECT r.run_no, r.token, r.first_pos, r.last_pos, t.thread_no, t.head, t.last_pos, t.thread_id, t.base_seq
            FROM runs r JOIN threads t ON t.thread_no = r.thread_no
            WHERE r.run_id = ?3 AND r.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)";
        let key = params![scope.tenant().as_str(), scope.user().as_str(), run.as_str()];
        let mut select = connection.prepare_cached(FIND)?;
        let mut rows = select.query(key)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let id = ThreadId::new(row.get::<_, String>(7)?);
        Ok(Some(Self {
            number: row.get(0)?,
            token: row.get(1)?,
            first_pos: row.get(2)?,
            last_pos: row.get(3)?,
            thread: Thread {
                number: row.get(4)?,
                head: row.get(5)?,
                last_pos: row.get(6)?,
                base: 0,
                base_seq: row.get(8)?,
            },
            thread_id: id.map_err(|_| file.corrupt(format!("run {run} of {scope}"), "its thread is damaged"))?,
        }))
    }

    /// The chunks of this run that hold its first `limit` events with `seq > after`, oldest first.
    ///
    /// Other runs of the thread may have written in between, children for example. So the thread is read in windows until
    /// enough of this run is found; each window is as long as what came before it, which keeps the whole linear.
    pub(crate) fn chunks(
        &self,
        connection: &Connection,
        after: u64,
        limit: u64,
        file: &File,
    ) -> Result<Vec<Chunk>, Stop> {
        const FIRST: &str = "SELECT first_seq FROM log WHERE pos = ?1";
        const END: &str = "SELECT first_seq + count - 1 FROM log WHERE pos = ?1";
        if self.last_pos == 0 || limit == 0 {
            return Ok(Vec::new());
        }
        let seq = |sql, pos: i64| connection.prepare_cached(sql)?.query_row([pos], |row| row.get::<_, u64>(0));
        let (first, end) = (seq(FIRST, self.first_pos)?, seq(END, self.last_pos)?);
        let (mut from, mut found, mut chunks) = (after.max(first - 1), 0, Vec::new());
        let mut window = limit;
        while from < end && found < limit {
            let upto = from.saturating_add(window).min(end);
            for chunk in self.thread.chunks(connection, from, upto, Some(self.last_pos), file)? {
                // A chunk on the border of two windows is met twice.
                let is_new = chunks.last().is_none_or(|last: &Chunk| last.first < chunk.first);
                if chunk.run == self.number && is_new {
                    found += chunk.first + chunk.count - chunk.first.max(after + 1);
                    chunks.push(chunk);
                }
            }
            from = upto;
            window = window.saturating_mul(2);
        }
        Ok(chunks)
    }
}

/// A page in the making.
struct Page<'a> {
    connection: &'a Connection,
    scope: &'a UserScope,
    thread: &'a ThreadId,
    file: &'a File,
    headers: HashMap<i64, Arc<RunHeader>>,
    events: Vec<Event>,
}

impl<'a> Page<'a> {
    fn new(connection: &'a Connection, scope: &'a UserScope, thread: &'a ThreadId, file: &'a File) -> Self {
        Self { connection, scope, thread, file, headers: HashMap::new(), events: Vec::new() }
    }

    fn add(&mut self, chunk: &Chunk, (after, upto): (u64, u64), limit: usize) -> Result<(), Stop> {
        let header = self.header(chunk.run)?;
        for (seq, event) in (chunk.first..).zip(chunk.events(self.file)?) {
            if seq <= after || seq > upto || self.events.len() >= limit {
                continue;
            }
            let kind = event.kind().ok_or_else(|| chunk.damaged(self.file, "an event has an unknown type"))?;
            let (at, data) = (Timestamp::from_micros(event.at), event.data());
            self.events.push(Event { seq, kind, at, data, header: Arc::clone(&header) });
        }
        Ok(())
    }

    fn header(&mut self, run: i64) -> Result<Arc<RunHeader>, Stop> {
        if let Some(header) = self.headers.get(&run) {
            return Ok(Arc::clone(header));
        }
        let header = Arc::new(self.read_header(run)?);
        self.headers.insert(run, Arc::clone(&header));
        Ok(header)
    }

    fn read_header(&self, run: i64) -> Result<RunHeader, Stop> {
        const HEADER: &str = "SELECT r.run_id, r.parent_run_id, r.agent, t.thread_id
            FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_no = ?3 AND r.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)";
        let key = params![self.scope.tenant().as_str(), self.scope.user().as_str(), run];
        let read = |row: &rusqlite::Row<'_>| {
            let (run, parent) = (row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?);
            Ok((run, parent, row.get::<_, Arc<str>>(2)?, row.get::<_, String>(3)?))
        };
        let what = || format!("an event of thread {} of {}", self.thread, self.scope);
        let found = self.connection.prepare_cached(HEADER)?.query_row(key, read).optional()?;
        let (id, parent, agent, thread) = found.ok_or_else(|| self.file.corrupt(what(), "its run is missing"))?;
        let damaged = |_| self.file.corrupt(what(), "the id of its run is damaged");
        Ok(RunHeader {
            scope: self.scope.clone(),
            // A fork begins with events of runs of other threads.
            thread: ThreadId::new(thread).map_err(damaged)?,
            run: RunId::new(id).map_err(damaged)?,
            parent: parent.map(RunId::new).transpose().map_err(damaged)?,
            agent,
        })
    }

    fn finish(self, head: u64) -> EventPage {
        EventPage { events: self.events, oldest: 1, head }
    }
}
