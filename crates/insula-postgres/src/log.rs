//! A user's events.
//!
//! The log has a row per append, found by its thread and its first event. A fork's log begins with rows of other threads, so a
//! page is read in parts, each from one thread.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Error, Event, EventLog, EventPage, PayloadHash, RunHeader,
    chunk::{self, Stored},
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{Server, Worked},
    rows,
    store::Store,
    transaction::Tx,
};

/// What a reader asks for.
#[derive(Debug)]
struct Wanted<I> {
    scope: UserScope,
    id: I,
    after: i64,
    limit: i64,
}

impl<I> Wanted<I> {
    fn new(scope: &UserScope, id: I, after: u64, limit: usize) -> Self {
        let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
        Self { scope: scope.clone(), id, after, limit }
    }
}

#[async_trait]
impl EventLog for Store {
    async fn thread_events(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        let wanted = Wanted::new(scope, thread.clone(), after, limit);
        let found = self.read("read events", scope, wanted, |tx, wanted| Box::pin(of_thread(tx, wanted))).await?;
        Ok(found.flatten())
    }

    async fn run_events(
        &self,
        scope: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        let wanted = Wanted::new(scope, run.clone(), after, limit);
        let found = self.read("read events", scope, wanted, |tx, wanted| Box::pin(of_run(tx, wanted))).await?;
        Ok(found.flatten())
    }

    async fn payload(&self, scope: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error> {
        Ok(self.read("read a payload", scope, *hash, |tx, hash| Box::pin(payload(tx, hash))).await?.flatten())
    }
}

async fn payload(tx: &mut Tx, hash: &PayloadHash) -> Worked<Option<Bytes>> {
    const BYTES: &str = "SELECT bytes FROM insula.payloads WHERE owner_no = $1 AND hash = $2";
    let query = sqlx::query_scalar(BYTES).bind(tx.owner).bind(&hash.as_bytes()[..]);
    let bytes: Option<Vec<u8>> = query.fetch_optional(tx.on()).await?;
    let Some(bytes) = bytes else { return Ok(None) };
    let found = PayloadHash::of(&bytes);
    if found != *hash {
        return Err(tx.server.corrupt(format!("payload {hash}"), format!("its bytes have the hash {found}")).into());
    }
    Ok(Some(Bytes::from(bytes)))
}

/// A thread as a reader finds it.
#[derive(Debug, Clone, Copy)]
struct Thread {
    number: i64,
    head: i64,
    /// The thread that the first `base_seq` events are read from, or 0.
    base: i64,
    base_seq: i64,
}

impl Thread {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let (number, head) = (row.try_get(0)?, row.try_get(1)?);
        Ok(Self { number, head, base: row.try_get(2)?, base_seq: row.try_get(3)? })
    }

    async fn by_name(tx: &mut Tx, thread: &ThreadId) -> Worked<Option<Self>> {
        const FIND: &str = "SELECT thread_no, head, base_no, base_seq FROM insula.threads
            WHERE owner_no = $1 AND thread_id = $2";
        let row = sqlx::query(FIND).bind(tx.owner).bind(thread.as_str()).fetch_optional(tx.on()).await?;
        Ok(row.as_ref().map(Self::read).transpose()?)
    }

    async fn by_number(tx: &mut Tx, number: i64) -> Worked<Self> {
        const FIND: &str = "SELECT thread_no, head, base_no, base_seq FROM insula.threads
            WHERE owner_no = $1 AND thread_no = $2";
        let row = sqlx::query(FIND).bind(tx.owner).bind(number).fetch_optional(tx.on()).await?;
        let lost = || tx.server.corrupt(format!("thread number {number}"), "a fork of it is there, and it is not");
        Ok(Self::read(&row.ok_or_else(lost)?)?)
    }

    /// Where the events behind `after` stand: parts of threads, each up to an event, oldest first.
    async fn parts(self, tx: &mut Tx, after: i64) -> Worked<Vec<(i64, i64)>> {
        let (mut thread, mut upto, mut parts) = (self, self.head, Vec::new());
        loop {
            if thread.base_seq.max(after) < upto {
                parts.push((thread.number, upto));
            }
            if thread.base == 0 || thread.base_seq <= after {
                parts.reverse();
                return Ok(parts);
            }
            // A thread is younger than what it begins with.
            if thread.base >= thread.number {
                let what = format!("thread number {}", self.number);
                return Err(tx.server.corrupt(what, "it begins with its own events").into());
            }
            upto = upto.min(thread.base_seq);
            thread = Self::by_number(tx, thread.base).await?;
        }
    }
}

/// A chunk as it is stored.
#[derive(Debug)]
pub(crate) struct Chunk {
    run: i64,
    first: i64,
    count: i64,
    sum: i64,
    body: Vec<u8>,
}

impl Chunk {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let (run, first, count) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Self { run, first, count, sum: row.try_get(3)?, body: row.try_get(4)? })
    }

    /// Its events, if they are what was written.
    pub(crate) fn events(&self, server: &Server) -> Result<Vec<Stored<'_>>, Error> {
        if chunk::checksum(&self.body) != self.sum {
            return Err(self.damaged(server, "its checksum is wrong"));
        }
        let events = chunk::decode(&self.body).map_err(|error| self.damaged(server, &error.to_string()))?;
        if i64::try_from(events.len()) != Ok(self.count) {
            return Err(self.damaged(server, "its count is wrong"));
        }
        Ok(events)
    }

    pub(crate) fn damaged(&self, server: &Server, detail: &str) -> Error {
        server.corrupt(format!("the chunk at event {} of run number {}", self.first, self.run), detail)
    }
}

/// The chunk that holds the event behind `after`, and those behind it with the first `limit` events, up to `upto`.
async fn chunks(tx: &mut Tx, thread: i64, after: i64, upto: i64, limit: i64) -> Worked<Vec<Chunk>> {
    const CHUNKS: &str = "SELECT run_no, first_seq, count, sum, body FROM insula.log
        WHERE owner_no = $1 AND thread_no = $2 AND first_seq <= $4 AND first_seq >= coalesce(
            (SELECT max(first_seq) FROM insula.log WHERE owner_no = $1 AND thread_no = $2 AND first_seq <= $3 + 1), 0)
        ORDER BY first_seq";
    let upto = upto.min(after.saturating_add(limit));
    let query = sqlx::query(CHUNKS).bind(tx.owner).bind(thread).bind(after).bind(upto);
    let rows = query.fetch_all(tx.on()).await?;
    Ok(rows.iter().map(Chunk::read).collect::<Result<_, _>>()?)
}

async fn of_thread(tx: &mut Tx, wanted: &Wanted<ThreadId>) -> Worked<Option<EventPage>> {
    let Some(thread) = Thread::by_name(tx, &wanted.id).await? else { return Ok(None) };
    let mut page = Page::new(&wanted.scope);
    let (mut after, end) = (wanted.after, wanted.after.saturating_add(wanted.limit).min(thread.head));
    for (number, upto) in thread.parts(tx, after).await? {
        if after >= end {
            break;
        }
        let found = chunks(tx, number, after, upto, end - after).await?;
        page.add_all(tx, &found, (after, upto.min(end))).await?;
        let reached = page.events.last().map_or(after, |event| event.seq.cast_signed());
        if reached < upto.min(end) {
            let what = format!("event {} of thread {} of {}", reached + 1, wanted.id, wanted.scope);
            return Err(tx.server.corrupt(what, "its chunk of the log is missing").into());
        }
        after = reached;
    }
    Ok(Some(page.finish(thread.head)))
}

/// A run as a reader of events finds it.
#[derive(Debug)]
pub(crate) struct Found {
    number: i64,
    pub(crate) token: i64,
    thread: i64,
    first: i64,
    last: i64,
    head: i64,
}

impl Found {
    pub(crate) async fn by_id(tx: &mut Tx, run: &RunId) -> Worked<Option<Self>> {
        const FIND: &str = "SELECT r.run_no, r.token, r.thread_no, r.first_seq, r.last_seq, t.head FROM insula.runs r
            JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
            WHERE r.owner_no = $1 AND r.run_id = $2";
        let row = sqlx::query(FIND).bind(tx.owner).bind(run.as_str()).fetch_optional(tx.on()).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            number: row.try_get(0)?,
            token: row.try_get(1)?,
            thread: row.try_get(2)?,
            first: row.try_get(3)?,
            last: row.try_get(4)?,
            head: row.try_get(5)?,
        }))
    }

    /// Its chunks with the first `limit` events behind `after`, oldest first. Every chunk holds one event at least.
    pub(crate) async fn chunks(&self, tx: &mut Tx, after: i64, limit: i64) -> Worked<Vec<Chunk>> {
        const CHUNKS: &str = "SELECT run_no, first_seq, count, sum, body FROM insula.log
            WHERE owner_no = $1 AND thread_no = $2 AND run_no = $3 AND first_seq >= $4 AND first_seq <= $5
            AND first_seq + count - 1 > $6 ORDER BY first_seq LIMIT $7";
        let query = sqlx::query(CHUNKS).bind(tx.owner).bind(self.thread).bind(self.number).bind(self.first);
        let rows = query.bind(self.last).bind(after).bind(limit).fetch_all(tx.on()).await?;
        Ok(rows.iter().map(Chunk::read).collect::<Result<_, _>>()?)
    }
}

async fn of_run(tx: &mut Tx, wanted: &Wanted<RunId>) -> Worked<Option<EventPage>> {
    let Some(run) = Found::by_id(tx, &wanted.id).await? else { return Ok(None) };
    let mut page = Page::new(&wanted.scope);
    let found = run.chunks(tx, wanted.after, wanted.limit).await?;
    page.add_all(tx, &found, (wanted.after, i64::MAX)).await?;
    page.events.truncate(usize::try_from(wanted.limit).unwrap_or(usize::MAX));
    Ok(Some(page.finish(run.head)))
}

/// A page in the making.
struct Page<'a> {
    scope: &'a UserScope,
    headers: HashMap<i64, Arc<RunHeader>>,
    events: Vec<Event>,
}

impl<'a> Page<'a> {
    fn new(scope: &'a UserScope) -> Self {
        Self { scope, headers: HashMap::new(), events: Vec::new() }
    }

    /// The events of these chunks between two numbers.
    async fn add_all(&mut self, tx: &mut Tx, chunks: &[Chunk], (after, upto): (i64, i64)) -> Worked<()> {
        self.read_headers(tx, chunks).await?;
        for chunk in chunks {
            let lost = || chunk.damaged(&tx.server, "its run is missing");
            let header = Arc::clone(self.headers.get(&chunk.run).ok_or_else(lost)?);
            for (seq, event) in (chunk.first..).zip(chunk.events(&tx.server)?) {
                if seq <= after || seq > upto {
                    continue;
                }
                let kind = event.kind().ok_or_else(|| chunk.damaged(&tx.server, "an event has an unknown type"))?;
                let (at, data) = (Timestamp::from_micros(event.at), event.data());
                self.events.push(Event { seq: seq.cast_unsigned(), kind, at, data, header: Arc::clone(&header) });
            }
        }
        Ok(())
    }

    /// Which runs these are of. A fork begins with events of runs of other threads.
    async fn read_headers(&mut self, tx: &mut Tx, chunks: &[Chunk]) -> Worked<()> {
        const HEADERS: &str = "SELECT r.run_id, t.thread_id, r.parent_run_id, r.agent, r.run_no FROM insula.runs r
            JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
            WHERE r.owner_no = $1 AND r.run_no = ANY ($2)";
        let unknown = chunks.iter().map(|chunk| chunk.run).filter(|run| !self.headers.contains_key(run));
        let mut unknown: Vec<i64> = unknown.collect();
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() {
            return Ok(());
        }
        for row in &sqlx::query(HEADERS).bind(tx.owner).bind(unknown).fetch_all(tx.on()).await? {
            let header = rows::header(row, self.scope, &tx.server)?;
            self.headers.insert(row.try_get(4)?, Arc::new(header));
        }
        Ok(())
    }

    fn finish(self, head: i64) -> EventPage {
        EventPage { events: self.events, oldest: 1, head: head.cast_unsigned() }
    }
}
