//! Putting a run into the queue, and what that means for the others of its thread.

use insula_context::{CancelReason, RunId, Timestamp};
use insula_infra::{Error, NewRun, RunRecord, RunStatus, Submitted, ThreadPolicy};
use rusqlite::{OptionalExtension, params};

use crate::{
    ahead, cancel,
    error::Stop,
    payloads,
    rows::{self, Place, Span, Standing, Thread, run_columns},
    transaction::{Owner, Tx},
    webhooks,
};

/// A run for the queue, unless this key made one before.
pub(crate) fn submit(tx: &mut Tx<'_>, new: &NewRun, key: Option<&str>, now: Timestamp) -> Result<Submitted, Stop> {
    if let Some(known) = known(tx, new, key)? {
        return Ok(Submitted::Known(Box::new(known)));
    }
    enqueue(tx, new, key, now)?;
    Ok(Submitted::New)
}

/// The run that this key made before.
fn known(tx: &mut Tx<'_>, new: &NewRun, key: Option<&str>) -> Result<Option<RunRecord>, Stop> {
    const KNOWN: &str = concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.owner_no = ?1 AND r.idempotency = ?2"
    );
    // Its thread may be about to be deleted; then the key is free.
    const FREE: &str = "UPDATE runs SET idempotency = NULL WHERE owner_no = ?1 AND idempotency = ?2";
    let Some(key) = key else { return Ok(None) };
    let Some(owner) = tx.owner(&new.header.scope)? else { return Ok(None) };
    let mut select = tx.connection.prepare_cached(KNOWN)?;
    let mut rows = select.query(params![owner.number, key])?;
    if let Some(row) = rows.next()? {
        return rows::record(row, &new.header.scope, tx.file).map(Some);
    }
    tx.connection.prepare_cached(FREE)?.execute(params![owner.number, key])?;
    Ok(None)
}

fn enqueue(tx: &mut Tx<'_>, new: &NewRun, key: Option<&str>, now: Timestamp) -> Result<(), Stop> {
    let mut owner = tx.owner_or_new(&new.header.scope)?;
    let mut thread = Thread::find_or_new(tx, owner.number, &new.header.thread)?;
    let in_turn = new.policy.is_some() && new.header.parent.is_none();
    let before = if in_turn && !thread.is_new { open_in_turn(tx, thread.number)? } else { Vec::new() };
    refuse(tx, new, &owner, &before)?;
    let wish = ahead::wish(tx, &owner, &new.header.run, now)?;
    let later = new.available_at.filter(|at| *at > now);
    let place = match (&wish, before.is_empty(), later) {
        (Some(_), ..) | (None, true, None) => Place::Ready,
        (None, false, _) => Place::Blocked,
        (None, true, Some(_)) => Place::Asleep,
    };
    let standing = Standing {
        status: RunStatus::Queued.as_str(),
        place: Some(place),
        due_at: later.filter(|_| wish.is_none()).or(Some(now)),
        cancel: wish.as_ref(),
        in_turn,
        ..Standing::default()
    };
    let number = tx.next_run();
    let span = Span { last_at: i64::MIN, ..Span::default() };
    rows::insert_run(tx, number, (&owner, &thread), new, key, &standing, span)?;
    if wish.is_some() {
        ahead::fulfil(tx, &mut owner, &new.header.run)?;
    }
    thread.last_run = number;
    (owner.weight, owner.queued) = (i64::from(new.weight.max(1)), owner.queued + i64::from(in_turn));
    thread.keep(tx, owner, new)?;
    payloads::keep(tx, owner.number, number, new.payload.as_slice())?;
    webhooks::keep(tx, owner.number, number, new)?;
    if wish.is_none() {
        make_way(tx, new, &before, now)?;
    }
    Ok(())
}

/// The runs of a thread that go one at a time and have not ended, oldest first.
fn open_in_turn(tx: &Tx<'_>, thread: i64) -> rusqlite::Result<Vec<i64>> {
    const OPEN: &str = "SELECT run_no FROM runs INDEXED BY runs_in_turn
        WHERE thread_no = ?1 AND in_turn = 1 AND place IS NOT NULL ORDER BY run_no";
    let mut open = tx.connection.prepare_cached(OPEN)?;
    open.query_map([thread], |row| row.get(0))?.collect()
}

/// Whatever can be refused is refused before anything is written.
fn refuse(tx: &Tx<'_>, new: &NewRun, owner: &Owner, before: &[i64]) -> Result<(), Stop> {
    const EXISTS: &str = "SELECT 1 FROM runs WHERE owner_no = ?1 AND run_id = ?2";
    const ID: &str = "SELECT run_id FROM runs WHERE run_no = ?1";
    let header = &new.header;
    let full = new.most_queued.filter(|most| i64::try_from(*most).is_ok_and(|most| owner.queued >= most));
    let busy = before.first().filter(|_| new.policy == Some(ThreadPolicy::Reject));
    if full.is_none() && busy.is_none() {
        return Ok(());
    }
    if tx.connection.prepare_cached(EXISTS)?.exists(params![owner.number, header.run.as_str()])? {
        return Err(Error::RunExists { run: header.run.clone() }.into());
    }
    if let Some(limit) = full {
        return Err(Error::QueueFull { limit }.into());
    }
    let Some(number) = busy else { return Ok(()) };
    let id = tx.connection.prepare_cached(ID)?.query_row([number], |row| row.get::<_, String>(0)).optional()?;
    let run = id.and_then(|id| RunId::new(id).ok());
    let run = run.ok_or_else(|| tx.file.corrupt(format!("run number {number}"), "its id is damaged"))?;
    Err(Error::ThreadBusy { thread: header.thread.clone(), run }.into())
}

/// Asks those before it to stop, if its policy says so.
fn make_way(tx: &Tx<'_>, new: &NewRun, before: &[i64], now: Timestamp) -> rusqlite::Result<()> {
    const ROLL_BACK: &str = "UPDATE runs SET rolled_back = 1 WHERE run_no = ?1";
    let is_rollback = new.policy == Some(ThreadPolicy::Rollback);
    if !is_rollback && new.policy != Some(ThreadPolicy::Interrupt) {
        return Ok(());
    }
    let reason = CancelReason::new("policy", format!("run {} took its place in the thread", new.header.run));
    for run in before {
        cancel::ask(tx, *run, &reason, now)?;
        if is_rollback {
            tx.connection.prepare_cached(ROLL_BACK)?.execute([run])?;
        }
    }
    Ok(())
}
