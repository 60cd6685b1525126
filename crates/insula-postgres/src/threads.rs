//! A user's threads: their list, and forks of them.

use insula_context::{ThreadId, Timestamp};
use insula_infra::{Error, Fork, ThreadRecord};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{Server, Worked},
    transaction::Tx,
};

/// Threads with a number below `before`, youngest first.
pub(crate) async fn list(tx: &mut Tx, before: i64, most: usize) -> Worked<Vec<(i64, ThreadRecord)>> {
    const LIST: &str = "SELECT t.thread_id, t.created_at, t.head, b.thread_id, t.base_seq, t.thread_no
        FROM insula.threads t LEFT JOIN insula.threads b ON b.owner_no = t.owner_no AND b.thread_no = t.base_no
        WHERE t.owner_no = $1 AND t.thread_no < $2 ORDER BY t.thread_no DESC LIMIT $3";
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = sqlx::query(LIST).bind(tx.owner).bind(before).bind(most).fetch_all(tx.on()).await?;
    rows.iter().map(|row| Ok((row.try_get(5)?, record(row, &tx.server)?))).collect()
}

/// The owner's thread of this name.
pub(crate) async fn one(tx: &mut Tx, thread: &ThreadId) -> Worked<Option<ThreadRecord>> {
    const ONE: &str = "SELECT t.thread_id, t.created_at, t.head, b.thread_id, t.base_seq
        FROM insula.threads t LEFT JOIN insula.threads b ON b.owner_no = t.owner_no AND b.thread_no = t.base_no
        WHERE t.owner_no = $1 AND t.thread_id = $2";
    let row = sqlx::query(ONE).bind(tx.owner).bind(thread.as_str()).fetch_optional(tx.on()).await?;
    row.map(|row| record(&row, &tx.server)).transpose()
}

fn record(row: &PgRow, server: &Server) -> Worked<ThreadRecord> {
    let id = |text: String| ThreadId::new(text).map_err(|_| server.corrupt("a thread", "its id is damaged"));
    let base = row.try_get::<Option<String>, _>(3)?.map(id).transpose()?;
    let seq = row.try_get::<i64, _>(4)?.cast_unsigned();
    Ok(ThreadRecord {
        thread_id: id(row.try_get(0)?)?,
        created_at: Timestamp::from_micros(row.try_get(1)?),
        head: row.try_get::<i64, _>(2)?.cast_unsigned(),
        forked_from: base.map(|thread_id| Fork { thread_id, seq }),
    })
}

/// Makes a thread without runs.
pub(crate) async fn create(tx: &mut Tx, thread: &ThreadId, at: Timestamp) -> Worked<ThreadRecord> {
    insert(tx, thread, at, (0, 0)).await?;
    Ok(ThreadRecord { thread_id: thread.clone(), created_at: at, head: 0, forked_from: None })
}

/// Makes a thread that points to the beginning of another.
pub(crate) async fn fork(tx: &mut Tx, fork: &Fork, into: &ThreadId, at: Timestamp) -> Worked<Option<ThreadRecord>> {
    // Under lock: whoever deletes it meanwhile has to see the fork, or the fork has to see that it is gone.
    const BASE: &str =
        "SELECT thread_no, head FROM insula.threads WHERE owner_no = $1 AND thread_id = $2 FOR KEY SHARE";
    let row = sqlx::query(BASE).bind(tx.owner).bind(fork.thread_id.as_str()).fetch_optional(tx.on()).await?;
    let Some(row) = row else { return Ok(None) };
    let (base, head): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let Some(seq) = i64::try_from(fork.seq).ok().filter(|seq| *seq <= head) else { return Ok(None) };
    insert(tx, into, at, (base, seq)).await?;
    let (thread_id, forked_from) = (into.clone(), Some(fork.clone()));
    Ok(Some(ThreadRecord { thread_id, created_at: at, head: fork.seq, forked_from }))
}

async fn insert(tx: &mut Tx, thread: &ThreadId, at: Timestamp, (base, seq): (i64, i64)) -> Worked<()> {
    const INSERT: &str =
        "INSERT INTO insula.threads (owner_no, thread_no, thread_id, created_at, head, base_no, base_seq)
        VALUES ($1, nextval('insula.thread_numbers'), $2, $3, $5, $4, $5)
        ON CONFLICT (owner_no, thread_id) DO NOTHING";
    let query = sqlx::query(INSERT).bind(tx.owner).bind(thread.as_str()).bind(at.as_micros()).bind(base).bind(seq);
    if query.execute(tx.on()).await?.rows_affected() == 0 {
        return Err(Error::ThreadExists { thread: thread.clone() }.into());
    }
    Ok(())
}
