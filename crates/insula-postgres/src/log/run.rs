//! The chunks of one run, between those of other runs of its thread.

use insula_context::RunId;
use sqlx::Row;

use super::Chunk;
use crate::{
    error::{Server, Worked},
    transaction::Tx,
};

/// A run as a reader of events finds it.
#[derive(Debug)]
pub(crate) struct Found {
    number: i64,
    pub(crate) token: i64,
    /// How many events it has.
    pub(crate) events: i64,
    thread: i64,
    first: i64,
    pub(super) last: i64,
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

    /// Its first `most` chunks with events behind `after`, oldest first. The search begins at the chunk of the thread that
    /// holds the event behind `after`: reading a run page by page looks at every chunk once, whoever wrote it.
    pub(crate) async fn chunks(&self, tx: &mut Tx, after: i64, most: i64) -> Worked<Vec<Chunk>> {
        const CHUNKS: &str = "SELECT run_no, first_seq, count, sum, body FROM insula.log
            WHERE owner_no = $1 AND thread_no = $2 AND run_no = $3 AND first_seq <= $5
            AND first_seq + count - 1 > $6 AND first_seq >= greatest($4, (SELECT max(first_seq) FROM insula.log
                WHERE owner_no = $1 AND thread_no = $2 AND first_seq <= $6 + 1))
            ORDER BY first_seq LIMIT $7";
        if after >= self.last {
            return Ok(Vec::new());
        }
        let query = sqlx::query(CHUNKS).bind(tx.owner).bind(self.thread).bind(self.number).bind(self.first);
        let rows = query.bind(self.last).bind(after).bind(most).fetch_all(tx.on()).await?;
        Ok(rows.iter().map(Chunk::read).collect::<Result<_, _>>()?)
    }

    /// An event behind `after` that must be there and is not.
    pub(crate) fn lost(&self, server: &Server, run: &RunId, after: i64) -> crate::error::Stop {
        let what = format!("the events behind {after} of run {run}");
        server.corrupt(what, "a chunk of the log is missing").into()
    }
}
