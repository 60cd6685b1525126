//! The chunks of one run, between those of other runs of its thread.

use insula_context::RunId;
use sqlx::Row;

use super::Chunk;
use crate::{
    error::{Server, Stop, Worked},
    transaction::Tx,
};

/// How many events of a thread are looked at first for events of one of its runs.
const LEAST: i64 = 64;
const MOST: i64 = 4_096;

/// A run as a reader of events finds it.
#[derive(Debug)]
pub(crate) struct Found {
    number: i64,
    pub(crate) token: i64,
    /// How many events it has.
    events: i64,
    thread: i64,
    first: i64,
    last: i64,
    pub(super) head: i64,
}

impl Found {
    pub(crate) async fn by_id(tx: &mut Tx, run: &RunId) -> Worked<Option<Self>> {
        const FIND: &str = "SELECT r.run_no, r.token, r.events, r.thread_no, r.first_seq, r.last_seq, t.head
            FROM insula.runs r JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
            WHERE r.owner_no = $1 AND r.run_id = $2";
        let row = sqlx::query(FIND).bind(tx.owner).bind(run.as_str()).fetch_optional(tx.on()).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Self {
            number: row.try_get(0)?,
            token: row.try_get(1)?,
            events: row.try_get(2)?,
            thread: row.try_get(3)?,
            first: row.try_get(4)?,
            last: row.try_get(5)?,
            head: row.try_get(6)?,
        }))
    }

    /// Its chunks with the first `limit` events behind `after`, and maybe some more, oldest first.
    ///
    /// Others may have written in between, children for example. So the thread is read in windows until enough of this run is
    /// found; each window is as long as what came before it, which keeps the whole linear, whatever the planner does.
    pub(crate) async fn chunks(&self, tx: &mut Tx, id: &RunId, after: i64, limit: i64) -> Worked<Vec<Chunk>> {
        if limit == 0 || after >= self.last {
            return Ok(Vec::new());
        }
        let held = |chunks: &[Chunk]| chunks.iter().map(|chunk| chunk.last() - after.max(chunk.first - 1)).sum::<i64>();
        let (mut from, mut window) = (self.first.max(after + 1), limit.clamp(LEAST, MOST));
        let mut chunks: Vec<Chunk> = self.holding(tx, from).await?.into_iter().collect();
        let mut found = held(&chunks);
        while from < self.last && found < limit {
            let upto = from.saturating_add(window).min(self.last);
            chunks.extend(self.between(tx, (from, upto), limit - found).await?);
            found = held(&chunks);
            (from, window) = (upto, window.saturating_mul(2));
        }
        let is_short = found < limit;
        let is_lost = chunks.last().map(Chunk::last) != Some(self.last) || (after < self.first && found != self.events);
        if is_short && is_lost {
            return Err(self.lost(&tx.server, id, after));
        }
        Ok(chunks)
    }

    /// The chunk that holds this event, if it is the run's own.
    async fn holding(&self, tx: &mut Tx, seq: i64) -> Worked<Option<Chunk>> {
        const CHUNK: &str = "SELECT run_no, first_seq, count, sum, body FROM insula.log
            WHERE owner_no = $1 AND thread_no = $2 AND first_seq <= $3 ORDER BY first_seq DESC LIMIT 1";
        let query = sqlx::query(CHUNK).bind(tx.owner).bind(self.thread).bind(seq);
        let chunk = query.fetch_optional(tx.on()).await?.as_ref().map(Chunk::read).transpose()?;
        Ok(chunk.filter(|chunk| chunk.run == self.number && chunk.last() >= seq))
    }

    /// Its first `most` chunks that begin behind one event, and not behind another.
    async fn between(&self, tx: &mut Tx, (after, upto): (i64, i64), most: i64) -> Worked<Vec<Chunk>> {
        const CHUNKS: &str = "SELECT run_no, first_seq, count, sum, body FROM insula.log
            WHERE owner_no = $1 AND thread_no = $2 AND run_no = $3 AND first_seq > $4 AND first_seq <= $5
            ORDER BY first_seq LIMIT $6";
        let query = sqlx::query(CHUNKS).bind(tx.owner).bind(self.thread).bind(self.number);
        let rows = query.bind(after).bind(upto).bind(most).fetch_all(tx.on()).await?;
        Ok(rows.iter().map(Chunk::read).collect::<Result<_, _>>()?)
    }

    /// An event behind `after` that must be there and is not.
    fn lost(&self, server: &Server, run: &RunId, after: i64) -> Stop {
        let what = format!("the events behind {after} of run {run}");
        server.corrupt(what, "a chunk of the log is missing").into()
    }
}
