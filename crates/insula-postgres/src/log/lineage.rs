//! Where a thread's log is read from: its own chunks, and the beginnings of the threads that it branched off from.

use insula_context::ThreadId;

use crate::{error::Worked, transaction::Tx};

/// A part of a log that lies in one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) thread: i64,
    /// The last event of this thread that belongs to the log.
    pub(super) upto: i64,
}

/// Of what a log consists.
#[derive(Debug)]
pub(super) struct Lineage {
    pub(super) head: i64,
    /// Those with events behind the place from which it is read, oldest first.
    pub(super) parts: Vec<Part>,
}

/// A thread as it is found on the way: its number and until where it is read, what it begins with and up to where.
type Found = (i64, i64, i64, i64);

impl Lineage {
    /// The parts of the owner's thread of this name with events behind `after`. Forks of forks may be many: they are found
    /// by one statement. A thread is younger than what it begins with, so the way back has an end.
    pub(super) async fn find(tx: &mut Tx, thread: &ThreadId, after: i64) -> Worked<Option<Self>> {
        const FIND: &str = "WITH RECURSIVE line AS (
                SELECT 1 AS depth, thread_no, head AS upto, base_no, base_seq FROM insula.threads
                WHERE owner_no = $1 AND thread_id = $2
                UNION ALL SELECT l.depth + 1, t.thread_no, least(l.upto, l.base_seq), t.base_no, t.base_seq
                FROM line l JOIN insula.threads t ON t.owner_no = $1 AND t.thread_no = l.base_no
                WHERE l.base_no <> 0 AND l.base_seq > $3 AND l.base_no < l.thread_no)
            SELECT thread_no, upto, base_no, base_seq FROM line ORDER BY depth";
        let query = sqlx::query_as(FIND).bind(tx.owner).bind(thread.as_str()).bind(after);
        let found: Vec<Found> = query.fetch_all(tx.on()).await?;
        let (Some((_, head, ..)), Some((oldest, _, base, base_seq))) = (found.first(), found.last()) else {
            return Ok(None);
        };
        if *base != 0 && *base_seq > after {
            let what = format!("event {} of thread number {oldest}", after.saturating_add(1));
            return Err(tx.server.corrupt(what, "the thread that it branched off from is missing").into());
        }
        let part = |(thread, upto, ..): &Found| Part { thread: *thread, upto: *upto };
        Ok(Some(Self { head: *head, parts: found.iter().rev().map(part).collect() }))
    }
}
