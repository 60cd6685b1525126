//! Deleting threads and users: in one transaction each, so that nobody ever sees half of it, whatever happens meanwhile.

use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{Deleted, Error};
use sqlx::Row;

use crate::{
    budgets,
    error::{Server, Worked},
    payloads,
    store::Store,
    transaction::{Kind, Tx},
};

/// Deleting may take longer than any other statement.
const PATIENCE: &str = "SELECT set_config('statement_timeout', '600000', true)";

impl Store {
    /// Deletes a thread.
    pub(crate) async fn delete_one(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        let deleted = self.change("delete a thread", scope, thread.clone(), |tx, thread| Box::pin(named(tx, thread)));
        Ok(deleted.await?.flatten())
    }

    /// Deletes everything of a user but the name, the keys, the plan and the audit log.
    pub(crate) async fn delete_all(&self, scope: &UserScope) -> Result<Deleted, Error> {
        let deleted = self.change("delete a user", scope, scope.clone(), |tx, scope| Box::pin(all(tx, scope)));
        Ok(deleted.await?.unwrap_or_default())
    }

    /// Forgets threads that have been over since before a time, and says how many.
    pub(crate) async fn forget_over(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.across("forget threads", Kind::Write, (before, max), |tx, (before, max)| Box::pin(over(tx, *before, *max)))
            .await
    }
}

async fn named(tx: &mut Tx, thread: &ThreadId) -> Worked<Option<Deleted>> {
    const FIND: &str = "SELECT thread_no FROM insula.threads WHERE owner_no = $1 AND thread_id = $2 FOR UPDATE";
    const BUSY: &str = "SELECT run_id FROM insula.runs WHERE owner_no = $1 AND thread_no = $2 AND place IS NOT NULL
        ORDER BY run_no LIMIT 1";
    const FORK: &str = "SELECT thread_id FROM insula.threads WHERE owner_no = $1 AND base_no = $2 AND base_no <> 0
        ORDER BY thread_no LIMIT 1";
    let owner = tx.owner;
    let found = sqlx::query_scalar(FIND).bind(owner).bind(thread.as_str()).fetch_optional(tx.on()).await?;
    let Some(number): Option<i64> = found else { return Ok(None) };
    let damaged = |server: &Server| server.corrupt(format!("thread {thread}"), "an id in it is damaged");
    let busy: Option<String> = sqlx::query_scalar(BUSY).bind(owner).bind(number).fetch_optional(tx.on()).await?;
    if let Some(run) = busy {
        let run = RunId::new(run).map_err(|_| damaged(&tx.server))?;
        return Err(Error::ThreadBusy { thread: thread.clone(), run }.into());
    }
    let fork: Option<String> = sqlx::query_scalar(FORK).bind(owner).bind(number).fetch_optional(tx.on()).await?;
    if let Some(fork) = fork {
        let fork = ThreadId::new(fork).map_err(|_| damaged(&tx.server))?;
        return Err(Error::ThreadForked { thread: thread.clone(), fork }.into());
    }
    let runs = remove(tx, &[owner], &[number]).await?;
    Ok(Some(Deleted { threads: 1, runs }))
}

/// Removes threads that were looked at under lock, and says how many runs were in them.
async fn remove(tx: &mut Tx, owners: &[i64], threads: &[i64]) -> Worked<u64> {
    const STATE: &str = "WITH w AS (SELECT t.owner_no, t.thread_no, t.thread_id
            FROM unnest($1::bigint[], $2::bigint[]) AS w(owner_no, thread_no)
            JOIN insula.threads t ON t.owner_no = w.owner_no AND t.thread_no = w.thread_no),
        r AS (SELECT r.owner_no, r.run_no, r.run_id FROM w
            JOIN insula.runs r ON r.owner_no = w.owner_no AND r.thread_no = w.thread_no),
        questions AS (DELETE FROM insula.questions d USING r WHERE d.owner_no = r.owner_no AND d.run_no = r.run_no),
        calls AS (DELETE FROM insula.webhooks d USING r WHERE d.owner_no = r.owner_no AND d.run_no = r.run_no),
        of_runs AS (DELETE FROM insula.state d USING r
            WHERE d.owner_no = r.owner_no AND d.space = 'run' AND d.holder = r.run_id)
        DELETE FROM insula.state d USING w
            WHERE d.owner_no = w.owner_no AND d.space = 'thread' AND d.holder = w.thread_id";
    const ROWS: &str = "WITH w AS (SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS w(owner_no, thread_no)),
        log AS (DELETE FROM insula.log d USING w WHERE d.owner_no = w.owner_no AND d.thread_no = w.thread_no),
        threads AS (DELETE FROM insula.threads d USING w WHERE d.owner_no = w.owner_no AND d.thread_no = w.thread_no),
        runs AS (DELETE FROM insula.runs d USING w WHERE d.owner_no = w.owner_no AND d.thread_no = w.thread_no
            RETURNING 1)
        SELECT count(*) FROM runs";
    sqlx::query(PATIENCE).execute(tx.on()).await?;
    sqlx::query(STATE).bind(owners).bind(threads).execute(tx.on()).await?;
    payloads::remove(tx, owners, threads).await?;
    let runs: i64 = sqlx::query_scalar(ROWS).bind(owners).bind(threads).fetch_one(tx.on()).await?;
    Ok(runs.cast_unsigned())
}

/// Everything that hangs on an owner, and what the owner's runs have reserved of the tenant's. Everything is locked before it
/// goes, in the order of locks: whoever claims or writes at this moment is waited for, and then finds nothing.
async fn all(tx: &mut Tx, scope: &UserScope) -> Worked<Deleted> {
    const LINE: &str = "SELECT 1 FROM insula.lines WHERE owner_no = $1 FOR UPDATE";
    const THREADS: &str = "SELECT count(*) FROM
        (SELECT 1 FROM insula.threads WHERE owner_no = $1 ORDER BY thread_no FOR UPDATE) locked";
    const RUNS: &str = "SELECT count(*) FROM
        (SELECT 1 FROM insula.runs WHERE owner_no = $1 AND place IS NOT NULL ORDER BY run_no FOR UPDATE) locked";
    const ACCOUNT: &str = "DELETE FROM insula.accounts WHERE owner_no = $1";
    let owner = tx.owner;
    sqlx::query(PATIENCE).execute(tx.on()).await?;
    for lock in [LINE, THREADS, RUNS] {
        sqlx::query(lock).bind(owner).execute(tx.on()).await?;
    }
    let deleted = rows(tx, owner).await?;
    budgets::give_back_all(tx, owner, scope).await?;
    sqlx::query(ACCOUNT).bind(owner).execute(tx.on()).await?;
    Ok(deleted)
}

async fn rows(tx: &mut Tx, owner: i64) -> Worked<Deleted> {
    const ROWS: &str = "WITH log AS (DELETE FROM insula.log WHERE owner_no = $1),
        payloads AS (DELETE FROM insula.payloads WHERE owner_no = $1),
        uses AS (DELETE FROM insula.payload_uses WHERE owner_no = $1),
        questions AS (DELETE FROM insula.questions WHERE owner_no = $1),
        ahead AS (DELETE FROM insula.ahead WHERE owner_no = $1),
        schedules AS (DELETE FROM insula.schedules WHERE owner_no = $1),
        state AS (DELETE FROM insula.state WHERE owner_no = $1),
        quota AS (DELETE FROM insula.quota WHERE owner_no = $1),
        calls AS (DELETE FROM insula.webhooks WHERE owner_no = $1),
        used AS (DELETE FROM insula.usage WHERE owner_no = $1),
        served AS (DELETE FROM insula.served WHERE owner_no = $1),
        line AS (UPDATE insula.lines SET weight = 1, submitted = 0 WHERE owner_no = $1),
        threads AS (DELETE FROM insula.threads WHERE owner_no = $1 RETURNING 1),
        runs AS (DELETE FROM insula.runs WHERE owner_no = $1 RETURNING 1)
        SELECT (SELECT count(*) FROM threads), (SELECT count(*) FROM runs)";
    let row = sqlx::query(ROWS).bind(owner).fetch_one(tx.on()).await?;
    let (threads, runs): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Deleted { threads: threads.cast_unsigned(), runs: runs.cast_unsigned() })
}

/// Looks for threads that are over, and again at each under its lock.
async fn over(tx: &mut Tx, before: Timestamp, max: i64) -> Worked<usize> {
    const FIND: &str = "SELECT owner_no, thread_no FROM insula.threads_over($1, $2)";
    const LOCK: &str = "SELECT t.owner_no, t.thread_no
        FROM unnest($1::bigint[], $2::bigint[]) AS w(owner_no, thread_no)
        JOIN insula.threads t ON t.owner_no = w.owner_no AND t.thread_no = w.thread_no
        ORDER BY t.owner_no, t.thread_no FOR UPDATE OF t SKIP LOCKED";
    const STILL: &str =
        "SELECT w.owner_no, w.thread_no FROM unnest($1::bigint[], $2::bigint[]) AS w(owner_no, thread_no)
        WHERE NOT EXISTS (SELECT 1 FROM insula.runs r WHERE r.owner_no = w.owner_no AND r.thread_no = w.thread_no
            AND (r.place IS NOT NULL OR r.ended_at >= $3))
        AND NOT EXISTS (SELECT 1 FROM insula.threads f WHERE f.owner_no = w.owner_no AND f.base_no = w.thread_no
            AND f.base_no <> 0)";
    let pairs = |rows: Vec<(i64, i64)>| rows.into_iter().unzip::<i64, i64, Vec<i64>, Vec<i64>>();
    let before = before.as_micros();
    let (owners, threads) = pairs(sqlx::query_as(FIND).bind(before).bind(max).fetch_all(tx.on()).await?);
    tx.enter(&owners).await?;
    let (owners, threads) = pairs(sqlx::query_as(LOCK).bind(owners).bind(threads).fetch_all(tx.on()).await?);
    let still = sqlx::query_as(STILL).bind(owners).bind(threads).bind(before).fetch_all(tx.on()).await?;
    let (owners, threads) = pairs(still);
    if !threads.is_empty() {
        remove(tx, &owners, &threads).await?;
    }
    Ok(threads.len())
}
