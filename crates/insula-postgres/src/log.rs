//! A user's events.
//!
//! The log has a row per append, found by its thread and its first event. A fork's log begins with rows of other threads, so a
//! page is read in parts, each from one thread.

mod lineage;
mod run;

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

use lineage::Lineage;
pub(crate) use run::Found;

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

    /// Its last event.
    fn last(&self) -> i64 {
        self.first.saturating_add(self.count).saturating_sub(1)
    }

    pub(crate) fn damaged(&self, server: &Server, detail: &str) -> Error {
        server.corrupt(format!("the chunk at event {} of run number {}", self.first, self.run), detail)
    }
}

/// The chunk that holds the event behind `after`, and those behind it with the first `limit` events, up to `upto`.
async fn chunks(tx: &mut Tx, thread: i64, after: i64, upto: i64) -> Worked<Vec<Chunk>> {
    // In two parts, so that both ends of the range are known to the planner, who would read the thread from its beginning.
    const CHUNKS: &str = "SELECT * FROM (
            (SELECT run_no, first_seq, count, sum, body FROM insula.log
                WHERE owner_no = $1 AND thread_no = $2 AND first_seq <= $3 + 1 ORDER BY first_seq DESC LIMIT 1)
            UNION ALL SELECT run_no, first_seq, count, sum, body FROM insula.log
                WHERE owner_no = $1 AND thread_no = $2 AND first_seq > $3 + 1 AND first_seq <= $4) found
        ORDER BY first_seq";
    let query = sqlx::query(CHUNKS).bind(tx.owner).bind(thread).bind(after).bind(upto);
    let rows = query.fetch_all(tx.on()).await?;
    Ok(rows.iter().map(Chunk::read).collect::<Result<_, _>>()?)
}

async fn of_thread(tx: &mut Tx, wanted: &Wanted<ThreadId>) -> Worked<Option<EventPage>> {
    let Some(line) = Lineage::find(tx, &wanted.id, wanted.after).await? else { return Ok(None) };
    let mut page = Page::new(&wanted.scope);
    let (mut after, end) = (wanted.after, wanted.after.saturating_add(wanted.limit).min(line.head));
    for part in &line.parts {
        let upto = part.upto.min(end);
        if after >= upto {
            continue;
        }
        let found = chunks(tx, part.thread, after, upto).await?;
        page.add_all(tx, &found, (after, upto)).await?;
        page.check(&tx.server, (wanted.after, upto), || format!("thread {} of {}", wanted.id, wanted.scope))?;
        after = upto;
    }
    Ok(Some(page.finish(line.head)))
}

async fn of_run(tx: &mut Tx, wanted: &Wanted<RunId>) -> Worked<Option<EventPage>> {
    let Some(run) = Found::by_id(tx, &wanted.id).await? else { return Ok(None) };
    let mut page = Page::new(&wanted.scope);
    let found = run.chunks(tx, &wanted.id, wanted.after, wanted.limit).await?;
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

    /// Whether the events between two numbers are there, each of them once.
    fn check(&self, server: &Server, (after, upto): (i64, i64), of: impl Fn() -> String) -> Worked<()> {
        let expected = (after + 1).cast_unsigned()..=upto.cast_unsigned();
        let found = self.events.iter().map(|event| Some(event.seq)).chain(std::iter::repeat(None));
        match expected.zip(found).find(|(expected, found)| Some(*expected) != *found) {
            None => Ok(()),
            Some((seq, _)) => {
                Err(server.corrupt(format!("event {seq} of {}", of()), "its chunk of the log is missing").into())
            }
        }
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
