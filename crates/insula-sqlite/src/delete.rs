//! Deleting threads and users: nobody sees them from one write on, and then their rows go in steps, so that the writer is
//! never kept from other work for long.
//!
//! What a crash leaves half deleted is as invisible as before, and goes with the next deletion.

use insula_context::{RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{Deleted, Error};
use rusqlite::{OptionalExtension, params};

use crate::{budgets, clear, error::Stop, forget, store::Store, transaction::Tx};

/// Threads that are doomed in one transaction.
const TOGETHER: usize = 100;

impl Store {
    /// Deletes a thread.
    pub(crate) async fn delete_one(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        let _one_at_a_time = self.deleting.lock().await;
        let (scope, thread) = (scope.clone(), thread.clone());
        let Some(doomed) = self.writer.call(move |tx| doom_named(tx, &scope, &thread)).await? else { return Ok(None) };
        let runs = self.clear(vec![doomed]).await?;
        self.finish_others().await?;
        Ok(Some(Deleted { threads: 1, runs }))
    }

    /// Deletes everything of a user.
    pub(crate) async fn delete_all(&self, scope: &UserScope) -> Result<Deleted, Error> {
        let _one_at_a_time = self.deleting.lock().await;
        let scope = scope.clone();
        let deleted = match self.writer.call(move |tx| doom_owner(tx, &scope)).await? {
            Some(owner) => self.clear_owner(owner).await?,
            None => Deleted::default(),
        };
        self.finish_others().await?;
        Ok(deleted)
    }

    /// Forgets threads that have been over since before a time, and says how many.
    pub(crate) async fn forget(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        let _one_at_a_time = self.deleting.lock().await;
        let over = self.readers.read(move |connection| forget::over(connection, before, max)).await?;
        let mut forgotten = 0;
        for some in over.chunks(TOGETHER) {
            let some = some.to_vec();
            let doomed = self.writer.call(move |tx| forget::doom_those(tx, &some)).await?;
            forgotten += doomed.len();
            self.clear(doomed).await?;
        }
        self.finish_others().await?;
        Ok(forgotten)
    }

    /// Removes all rows of doomed threads, and says how many runs there were.
    async fn clear(&self, mut doomed: Vec<i64>) -> Result<u64, Error> {
        let mut runs = 0;
        while !doomed.is_empty() {
            let some = doomed.clone();
            let step = self.writer.call(move |tx| Ok(clear::step(tx, &some)?)).await?;
            runs += step.runs;
            doomed.drain(..step.threads);
        }
        Ok(runs)
    }

    async fn clear_owner(&self, owner: i64) -> Result<Deleted, Error> {
        let mut deleted = Deleted::default();
        loop {
            let doomed = self.writer.call(move |tx| Ok(doom_some_of(tx, owner)?)).await?;
            if doomed.is_empty() {
                break;
            }
            deleted.threads += doomed.len() as u64;
            deleted.runs += self.clear(doomed).await?;
        }
        while !self.writer.call(move |tx| Ok(clear::rest_of(tx, owner)?)).await? {}
        Ok(deleted)
    }

    /// What another process, or a call that was dropped, has left half deleted.
    async fn finish_others(&self) -> Result<(), Error> {
        const THREADS: &str = "SELECT thread_no FROM doomed";
        const OWNERS: &str = "SELECT owner_no FROM owners WHERE tenant_id = ''";
        let numbers = |sql: &'static str| {
            self.readers.read(move |connection| {
                let mut select = connection.prepare_cached(sql)?;
                Ok(select.query_map([], |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?)
            })
        };
        self.clear(numbers(THREADS).await?).await?;
        for owner in numbers(OWNERS).await? {
            self.clear_owner(owner).await?;
        }
        Ok(())
    }
}

fn doom_named(tx: &mut Tx<'_>, scope: &UserScope, thread: &ThreadId) -> Result<Option<i64>, Stop> {
    const BUSY: &str = "SELECT run_id FROM runs INDEXED BY runs_open
        WHERE owner_no = ?1 AND place IS NOT NULL AND thread_no = ?2 ORDER BY run_no LIMIT 1";
    const FORK: &str = "SELECT thread_id FROM threads INDEXED BY threads_forked
        WHERE base_no = ?1 AND base_no <> 0 ORDER BY thread_no LIMIT 1";
    let Some(owner) = tx.owner(scope)? else { return Ok(None) };
    let find = tx.find_thread.query_row(params![owner.number, thread.as_str()], |row| row.get(0)).optional()?;
    let Some(number): Option<i64> = find else { return Ok(None) };
    let text = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
    let damaged = || tx.file.corrupt(format!("thread {thread} of {scope}"), "an id in it is damaged");
    let busy = tx.connection.prepare_cached(BUSY)?.query_row([owner.number, number], text).optional()?;
    if let Some(run) = busy {
        let run = RunId::new(run).map_err(|_| damaged())?;
        return Err(Error::ThreadBusy { thread: thread.clone(), run }.into());
    }
    if let Some(fork) = tx.connection.prepare_cached(FORK)?.query_row([number], text).optional()? {
        let fork = ThreadId::new(fork).map_err(|_| damaged())?;
        return Err(Error::ThreadForked { thread: thread.clone(), fork }.into());
    }
    doom(tx, owner.number, number)?;
    Ok(Some(number))
}

const DOOM: &str = "INSERT INTO doomed (thread_no, owner_no, last_run, last_pos, above)
    SELECT thread_no, owner_no, last_run, last_pos, 0 FROM threads WHERE thread_no = ?1";
const DROP: &str = "DELETE FROM threads WHERE thread_no = ?1 RETURNING prev_thread, thread_id";

/// Takes a thread away from its owner. From now on its name is free.
pub(crate) fn doom(tx: &mut Tx<'_>, owner: i64, thread: i64) -> rusqlite::Result<()> {
    const STATE: &str = "DELETE FROM state WHERE owner_no = ?1 AND space = 'thread' AND holder = ?2";
    tx.connection.prepare_cached(DOOM)?.execute([thread])?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (previous, name): (i64, String) = tx.connection.prepare_cached(DROP)?.query_row([thread], read)?;
    tx.connection.prepare_cached(STATE)?.execute(params![owner, name])?;
    unlink(tx, owner, thread, previous)
}

/// Closes the gap in the owner's chain of threads.
fn unlink(tx: &mut Tx<'_>, owner: i64, thread: i64, previous: i64) -> rusqlite::Result<()> {
    const YOUNGEST: &str = "UPDATE owners SET last_thread = ?3 WHERE owner_no = ?1 AND last_thread = ?2";
    const LINK: &str = "UPDATE threads SET prev_thread = ?3 WHERE thread_no = ?1 AND prev_thread = ?2";
    const NEAR: &str = "SELECT thread_no FROM
        (SELECT thread_no, owner_no FROM threads WHERE thread_no > ?2 ORDER BY thread_no LIMIT 256)
        WHERE owner_no = ?1 LIMIT 1";
    const HEAD: &str = "SELECT last_thread FROM owners WHERE owner_no = ?1";
    const BEFORE: &str = "SELECT prev_thread FROM threads WHERE thread_no = ?1";
    if tx.connection.prepare_cached(YOUNGEST)?.execute([owner, thread, previous])? > 0 {
        tx.forget_owners();
        return Ok(());
    }
    // The next one is near if the owner is busy, and few steps from the youngest otherwise.
    let near = tx.connection.prepare_cached(NEAR)?.query_row([owner, thread], |row| row.get(0)).optional()?;
    let mut above: i64 = match near {
        Some(near) => near,
        None => tx.connection.prepare_cached(HEAD)?.query_row([owner], |row| row.get(0))?,
    };
    let mut before = tx.connection.prepare_cached(BEFORE)?;
    while above > thread {
        if tx.connection.prepare_cached(LINK)?.execute([above, thread, previous])? > 0 {
            return Ok(());
        }
        above = before.query_row([above], |row| row.get(0)).optional()?.unwrap_or(0);
    }
    Ok(())
}

/// Takes everything away from an owner, whose name is free from now on: writers of runs under way are refused.
fn doom_owner(tx: &mut Tx<'_>, scope: &UserScope) -> Result<Option<i64>, Stop> {
    const RUNS: &str = "UPDATE runs SET place = NULL, worker = NULL, lease_until = NULL
        WHERE run_no IN (SELECT run_no FROM runs INDEXED BY runs_open WHERE owner_no = ?1 AND place IS NOT NULL)";
    const SCHEDULES: &str = "DELETE FROM schedules WHERE owner_no = ?1";
    const ACCOUNT: &str = "DELETE FROM accounts WHERE tenant_id = ?1 AND user_id = ?2";
    const NAME: &str = "UPDATE owners SET tenant_id = '', user_id = CAST(owner_no AS TEXT) WHERE owner_no = ?1";
    let (tenant, user) = (scope.tenant().as_str(), scope.user().as_str());
    tx.connection.prepare_cached(ACCOUNT)?.execute([tenant, user])?;
    let Some(owner) = tx.owner(scope)? else { return Ok(None) };
    budgets::give_back(tx, scope, None)?;
    for statement in [RUNS, SCHEDULES, NAME] {
        tx.connection.prepare_cached(statement)?.execute([owner.number])?;
    }
    tx.forget_owners();
    Ok(Some(owner.number))
}

/// Some threads of an owner who is gone: the youngest ones.
fn doom_some_of(tx: &mut Tx<'_>, owner: i64) -> rusqlite::Result<Vec<i64>> {
    const YOUNGEST: &str = "SELECT last_thread FROM owners WHERE owner_no = ?1";
    const KEEP: &str = "UPDATE owners SET last_thread = ?2 WHERE owner_no = ?1";
    let youngest = tx.connection.prepare_cached(YOUNGEST)?.query_row([owner], |row| row.get(0)).optional()?;
    let (mut next, mut doomed): (i64, _) = (youngest.unwrap_or(0), Vec::new());
    while next != 0 && doomed.len() < TOGETHER {
        tx.connection.prepare_cached(DOOM)?.execute([next])?;
        doomed.push(next);
        next = tx.connection.prepare_cached(DROP)?.query_row([next], |row| row.get(0)).optional()?.unwrap_or(0);
    }
    tx.connection.prepare_cached(KEEP)?.execute([owner, next])?;
    Ok(doomed)
}
