//! Calls: made with their run, due from the transaction in which it ends.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{Attempt, Error, NewRun, Page, PageRequest, WebhookRecord, WebhookState, Webhooks, pages};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    claim,
    error::{File, Stop},
    rows,
    store::Store,
    transaction::{self, Owner, Tx},
};

/// The columns of a call, in the order of [`record`]: those of the header first.
macro_rules! call_columns {
    () => {
        "r.run_id, t.thread_id, r.parent_run_id, r.agent, w.target, w.state, w.attempts, w.next_at, w.last_error, \
         r.ended_at, w.run_no"
    };
}

/// Where they come from. A call whose thread is being deleted is not there any more.
macro_rules! with_run {
    () => {
        " CROSS JOIN runs r ON r.run_no = w.run_no CROSS JOIN threads t ON t.thread_no = r.thread_no "
    };
}

/// Which column tells the number of the run, and how many there are.
const RUN_NO: usize = 10;
const COLUMNS: usize = 11;

#[async_trait]
impl Webhooks for Store {
    async fn due_webhooks(&self, hold: Duration, max: usize) -> Result<Vec<WebhookRecord>, Error> {
        let now = self.clock.now();
        // Most of the time there is nothing, and the writer is not asked for that.
        if !self.readers.read(move |connection| Ok(is_any_due(connection, now)?)).await? {
            return Ok(Vec::new());
        }
        self.writer.call(move |tx| take(tx, now, now.plus(hold), max)).await
    }

    async fn settle_webhook(&self, scope: &UserScope, run: &RunId, attempt: Attempt) -> Result<(), Error> {
        let (scope, run) = (scope.clone(), run.clone());
        self.writer.call(move |tx| Ok(settle(tx, &scope, &run, &attempt)?)).await
    }

    async fn webhooks(
        &self,
        scope: &UserScope,
        state: Option<WebhookState>,
        page: &PageRequest,
    ) -> Result<Page<WebhookRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let (scope, file) = (scope.clone(), self.file.clone());
        let read = move |connection: &Connection| list(connection, &scope, state, (before, limit + 1), &file);
        Ok(pages::cut(self.readers.read(read).await?, limit))
    }

    async fn resend_webhook(&self, scope: &UserScope, run: &RunId) -> Result<Option<WebhookRecord>, Error> {
        let (scope, run, now) = (scope.clone(), run.clone(), self.clock.now());
        self.writer.call(move |tx| resend(tx, &scope, &run, now)).await
    }
}

/// Keeps the call of a new run, if it has one.
pub(crate) fn keep(tx: &Tx<'_>, owner: i64, run: i64, new: &NewRun) -> rusqlite::Result<()> {
    const KEEP: &str = "INSERT INTO webhooks (owner_no, run_no, state, attempts, target)
        VALUES (?1, ?2, 'waiting', 0, ?3)";
    let Some(target) = new.webhook.as_ref().filter(|_| new.header.parent.is_none()) else { return Ok(()) };
    tx.connection.prepare_cached(KEEP)?.execute(params![owner, run, target.get()]).map(|_| ())
}

pub(crate) const RING: &str = "UPDATE webhooks SET state = 'due', next_at = ?3
    WHERE owner_no = ?1 AND run_no = ?2 AND state = 'waiting'";

/// A run has ended: its call is due, if it has one. Nothing is written otherwise.
pub(crate) fn ring(tx: &mut Tx<'_>, owner: i64, run: i64, now: Timestamp) -> rusqlite::Result<()> {
    tx.ring.execute(params![owner, run, now.as_micros()]).map(|_| ())
}

/// Forgets the call of a run that is removed.
pub(crate) fn forget(tx: &Tx<'_>, owner: i64, run: i64) -> rusqlite::Result<()> {
    const FORGET: &str = "DELETE FROM webhooks WHERE owner_no = ?1 AND run_no = ?2";
    tx.connection.prepare_cached(FORGET)?.execute([owner, run]).map(|_| ())
}

fn is_any_due(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    const ANY: &str = "SELECT 1 FROM webhooks INDEXED BY webhooks_due WHERE state = 'due' AND next_at <= ?1";
    connection.prepare_cached(ANY)?.exists([now.as_micros()])
}

pub(crate) const DUE: &str = concat!(
    "SELECT ",
    call_columns!(),
    ", o.tenant_id, o.user_id, o.owner_no FROM webhooks w INDEXED BY webhooks_due",
    with_run!(),
    "CROSS JOIN owners o ON o.owner_no = w.owner_no
     WHERE w.state = 'due' AND w.next_at <= ?1 AND o.tenant_id <> '' ORDER BY w.next_at LIMIT ?2"
);

/// Takes what is due, and holds it until then.
fn take(tx: &Tx<'_>, now: Timestamp, until: Timestamp, max: usize) -> Result<Vec<WebhookRecord>, Stop> {
    const HOLD: &str = "UPDATE webhooks SET next_at = ?3 WHERE owner_no = ?1 AND run_no = ?2";
    let mut select = tx.connection.prepare_cached(DUE)?;
    let mut rows = select.query(params![now.as_micros(), i64::try_from(max).unwrap_or(i64::MAX)])?;
    let (mut due, mut held) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        held.push((row.get::<_, i64>(COLUMNS + 2)?, row.get::<_, i64>(RUN_NO)?));
        match owned(row, tx.file) {
            Ok(call) => due.push(WebhookRecord { next_at: Some(until), ..call }),
            // One damaged row must not keep everybody's calls from being made.
            Err(Stop::Refused(error)) => tracing::error!(%error, "a call cannot be read"),
            Err(failed) => return Err(failed),
        }
    }
    let mut hold = tx.connection.prepare_cached(HOLD)?;
    for (owner, run) in held {
        hold.execute(params![owner, run, until.as_micros()])?;
    }
    Ok(due)
}

fn owned(row: &Row<'_>, file: &File) -> Result<WebhookRecord, Stop> {
    let scope = claim::scope(&row.get::<_, String>(COLUMNS)?, &row.get::<_, String>(COLUMNS + 1)?, file)?;
    record(row, &scope, file)
}

/// What came of an attempt at a call that is still due.
fn settle(tx: &mut Tx<'_>, scope: &UserScope, run: &RunId, attempt: &Attempt) -> rusqlite::Result<()> {
    const SETTLE: &str = "UPDATE webhooks SET state = ?3, attempts = attempts + 1, next_at = ?4, last_error = ?5
        WHERE owner_no = ?1 AND run_no = (SELECT run_no FROM runs WHERE owner_no = ?1 AND run_id = ?2)
        AND state = 'due'";
    let Some(owner) = tx.owner(scope)? else { return Ok(()) };
    let (state, next_at, error) = match attempt {
        Attempt::Delivered => (WebhookState::Delivered, None, None),
        Attempt::Again { at, error } => (WebhookState::Due, Some(at.as_micros()), Some(error)),
        Attempt::Dead { error } => (WebhookState::Dead, None, Some(error)),
    };
    let row = params![owner.number, run.as_str(), state.as_str(), next_at, error];
    tx.connection.prepare_cached(SETTLE)?.execute(row).map(|_| ())
}

fn resend(tx: &mut Tx<'_>, scope: &UserScope, run: &RunId, now: Timestamp) -> Result<Option<WebhookRecord>, Stop> {
    const FIND: &str = concat!(
        "SELECT ",
        call_columns!(),
        " FROM runs r CROSS JOIN threads t ON t.thread_no = r.thread_no
          CROSS JOIN webhooks w ON w.owner_no = r.owner_no AND w.run_no = r.run_no
          WHERE r.owner_no = ?1 AND r.run_id = ?2 AND w.state <> 'waiting'"
    );
    const RESEND: &str = "UPDATE webhooks SET state = 'due', attempts = 0, next_at = ?3, last_error = NULL
        WHERE owner_no = ?1 AND run_no = ?2";
    let Some(owner) = tx.owner(scope)? else { return Ok(None) };
    let mut find = tx.connection.prepare_cached(FIND)?;
    let mut rows = find.query(params![owner.number, run.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (number, call): (i64, _) = (row.get(RUN_NO)?, record(row, scope, tx.file)?);
    tx.connection.prepare_cached(RESEND)?.execute(params![owner.number, number, now.as_micros()])?;
    let (state, next_at) = (WebhookState::Due, Some(now));
    Ok(Some(WebhookRecord { state, next_at, attempts: 0, last_error: None, ..call }))
}

/// Calls of an owner, of runs with a number below `before`, youngest first. Those that are not delivered are in an index
/// of their own, because what is looked for are the few among many.
fn list(
    connection: &Connection,
    scope: &UserScope,
    state: Option<WebhookState>,
    (before, most): (i64, usize),
    file: &File,
) -> Result<Vec<(i64, WebhookRecord)>, Stop> {
    const MANY: &str = concat!(
        "SELECT ",
        call_columns!(),
        " FROM webhooks w",
        with_run!(),
        "WHERE w.owner_no = ?1 AND w.run_no < ?2 AND (?4 IS NULL OR w.state = ?4) ORDER BY w.run_no DESC LIMIT ?3"
    );
    let sql = match state {
        None | Some(WebhookState::Delivered) => MANY,
        Some(_) => OPEN,
    };
    let names = (scope.tenant().as_str(), scope.user().as_str());
    let owner = connection.prepare_cached(transaction::FIND_OWNER)?.query_row(names, Owner::read).optional()?;
    let Some(owner) = owner else { return Ok(Vec::new()) };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(sql)?;
    let mut rows = select.query(params![owner.number, before, most, state.map(WebhookState::as_str)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(RUN_NO)?, record(row, scope, file)?));
    }
    Ok(found)
}

pub(crate) const OPEN: &str = concat!(
    "SELECT ",
    call_columns!(),
    " FROM webhooks w INDEXED BY webhooks_open",
    with_run!(),
    "WHERE w.owner_no = ?1 AND w.run_no < ?2 AND w.state = ?4 AND w.state <> 'delivered'
     ORDER BY w.run_no DESC LIMIT ?3"
);

fn record(row: &Row<'_>, scope: &UserScope, file: &File) -> Result<WebhookRecord, Stop> {
    let header = rows::header(row, scope, file)?;
    let damaged =
        |what: &str| file.corrupt(format!("the call of run {}", header.run), format!("its {what} is damaged"));
    let target = rows::json(row.get(4)?).ok_or_else(|| damaged("target"))?;
    let state = WebhookState::parse(&row.get::<_, String>(5)?).ok_or_else(|| damaged("state"))?;
    Ok(WebhookRecord {
        header: Arc::new(header),
        target,
        state,
        attempts: row.get(6)?,
        next_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_micros),
        last_error: row.get(8)?,
        ended_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_micros),
    })
}
