//! Rows of runs and threads, as they are written and read.

use std::sync::Arc;

use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{Error, FailReason, Failure, NewRun, RawJson, RunHeader, RunRecord, RunStatus, WaitFor};
use rusqlite::{OptionalExtension, Row, params};
use serde_json::value::RawValue;

use crate::{
    error::{File, Stop},
    transaction::{Owner, Tx},
};

/// Where a run stands for those who hand out runs. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// To be claimed.
    Ready = 1,
    /// Not to be claimed before its time, if it has one, or before it is asked to stop.
    Asleep = 2,
    /// Somebody works on it.
    Held = 3,
    /// Not to be claimed before those before it in its thread have ended, or before it is asked to stop.
    Blocked = 4,
}

/// A thread's head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread {
    pub(crate) number: i64,
    pub(crate) head: u64,
    pub(crate) last_pos: i64,
    pub(crate) last_run: i64,
    /// Whether the row is still to be written.
    pub(crate) is_new: bool,
}

pub(crate) const FIND_THREAD: &str =
    "SELECT thread_no, head, last_pos, last_run FROM threads WHERE owner_no = ?1 AND thread_id = ?2";
pub(crate) const INSERT_THREAD: &str =
    "INSERT INTO threads (thread_no, owner_no, thread_id, prev_thread, created_at, head, last_pos, last_run)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
pub(crate) const UPDATE_THREAD: &str =
    "UPDATE threads SET head = ?2, last_pos = ?3, last_run = ?4 WHERE thread_no = ?1";

impl Thread {
    /// The owner's thread of this name; a number for it if there is none.
    pub(crate) fn find_or_new(tx: &mut Tx<'_>, owner: i64, thread: &ThreadId) -> rusqlite::Result<Self> {
        let read = |row: &Row<'_>| {
            let (number, head, last_pos, last_run) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Self { number, head, last_pos, last_run, is_new: false })
        };
        match tx.find_thread.query_row(params![owner, thread.as_str()], read).optional()? {
            Some(found) => Ok(found),
            None => Ok(Self { number: tx.next_thread(), head: 0, last_pos: 0, last_run: 0, is_new: true }),
        }
    }

    /// Writes the row, and makes its youngest run the owner's.
    pub(crate) fn keep(&self, tx: &mut Tx<'_>, owner: Owner, new: &NewRun) -> rusqlite::Result<()> {
        let Self { number, head, last_pos, last_run, is_new } = *self;
        let (name, created_at) = (new.header.thread.as_str(), new.created_at.as_micros());
        if is_new {
            let previous = owner.last_thread;
            tx.insert_thread.execute(params![
                number,
                owner.number,
                name,
                previous,
                created_at,
                head,
                last_pos,
                last_run
            ])?;
        } else {
            tx.update_thread.execute(params![number, head, last_pos, last_run])?;
        }
        let last_thread = if is_new { number } else { owner.last_thread };
        tx.set_owner(&new.header.scope, Owner { last_run, last_thread, ..owner })
    }
}

/// What an append or a claim makes of a run. The same in every row that is written.
#[derive(Debug, Default)]
pub(crate) struct Standing<'a> {
    pub(crate) status: &'static str,
    pub(crate) place: Option<Place>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) token: u64,
    pub(crate) worker: Option<&'a str>,
    pub(crate) lease_until: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) cancel: Option<&'a CancelReason>,
    pub(crate) failure: Option<&'a Failure>,
    pub(crate) result: Option<&'a str>,
    pub(crate) waits_for: Option<WaitFor>,
    /// Whether it goes one at a time with the others that were submitted in its thread.
    pub(crate) in_turn: bool,
}

/// Which events a run has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Span {
    pub(crate) events: u64,
    pub(crate) first_pos: i64,
    pub(crate) last_pos: i64,
    pub(crate) last_at: i64,
}

pub(crate) const INSERT_RUN: &str = "INSERT INTO runs (
    run_no, owner_no, run_id, thread_no, prev_of_owner, prev_of_thread, status, place, due_at, token, worker, lease_until,
    events, first_pos, last_pos, last_at, created_at, started_at, ended_at, deadline, parent_run_id, agent, version,
    cancel_by, cancel_why, fail_reason, fail_message, idempotency, input, result, priority, in_turn, waits_for, options,
    asked, answered, rolled_back)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
            ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, 0, 0, 0)
    ON CONFLICT (run_id, owner_no) DO NOTHING";

/// Writes a new run, unless its owner has one of this id. Nothing is written when it is refused.
pub(crate) fn insert_run(
    tx: &mut Tx<'_>,
    number: i64,
    (owner, thread): (&Owner, &Thread),
    new: &NewRun,
    key: Option<&str>,
    standing: &Standing<'_>,
    span: Span,
) -> Result<(), Stop> {
    let (header, micros) = (&new.header, Timestamp::as_micros);
    let inserted = tx.insert_run.execute(params![
        number,
        owner.number,
        header.run.as_str(),
        thread.number,
        owner.last_run,
        thread.last_run,
        standing.status,
        standing.place.map(|place| place as i64),
        standing.due_at.map(micros),
        standing.token,
        standing.worker,
        standing.lease_until.map(micros),
        span.events,
        span.first_pos,
        span.last_pos,
        span.last_at,
        new.created_at.as_micros(),
        standing.started_at.map(micros),
        standing.ended_at.map(micros),
        new.deadline.map(micros),
        header.parent.as_ref().map(RunId::as_str),
        &*header.agent,
        &*new.version,
        standing.cancel.map(|cancel| cancel.by.as_str()),
        standing.cancel.map(|cancel| cancel.why.as_str()),
        standing.failure.map(|failure| failure.reason.as_str()),
        standing.failure.map(|failure| failure.message.as_str()),
        key,
        new.input.get(),
        standing.result,
        new.priority,
        standing.in_turn,
        standing.waits_for.map(WaitFor::as_str),
        new.options.as_ref().map(|options| options.get()),
    ])?;
    if inserted == 0 {
        return Err(Error::RunExists { run: header.run.clone() }.into());
    }
    Ok(())
}

/// The columns of a run that its owner reads, in the order of [`record`]; `r` is the run, `t` its thread.
macro_rules! run_columns {
    () => {
        "r.run_id, t.thread_id, r.parent_run_id, r.agent, r.version, r.status, r.input, r.result, r.fail_reason, \
         r.fail_message, r.cancel_by, r.cancel_why, r.created_at, r.started_at, r.ended_at, r.events, r.run_no, \
         r.waits_for, r.rolled_back"
    };
}
pub(crate) use run_columns;

/// How many columns [`run_columns`] names; what a query adds comes after them.
pub(crate) const RUN_COLUMNS: usize = 19;

/// A row of [`run_columns`] as its owner reads it.
pub(crate) fn record(row: &Row<'_>, scope: &UserScope, file: &File) -> Result<RunRecord, Stop> {
    let id: String = row.get(0)?;
    let damaged =
        |what: &str| Stop::Refused(file.corrupt(format!("run {id} of {scope}"), format!("its {what} is damaged")));
    let header = header(row, scope, file)?;
    let status: String = row.get(5)?;
    Ok(RunRecord {
        header: Arc::new(header),
        version: row.get(4)?,
        status: RunStatus::parse(&status).ok_or_else(|| damaged("status"))?,
        input: json(row.get(6)?).ok_or_else(|| damaged("input"))?,
        result: row.get::<_, Option<String>>(7)?.map(|text| json(text).ok_or_else(|| damaged("result"))).transpose()?,
        failure: failure(row)?,
        cancel: cancel(row)?,
        waits_for: row.get::<_, Option<String>>(17)?.and_then(|word| WaitFor::parse(&word)),
        rolled_back: row.get(18)?,
        created_at: Timestamp::from_micros(row.get(12)?),
        started_at: row.get::<_, Option<i64>>(13)?.map(Timestamp::from_micros),
        ended_at: row.get::<_, Option<i64>>(14)?.map(Timestamp::from_micros),
        events: row.get(15)?,
    })
}

/// Whose run it is, and which: the first four of [`run_columns`].
pub(crate) fn header(row: &Row<'_>, scope: &UserScope, file: &File) -> Result<RunHeader, Stop> {
    let (run, thread): (String, String) = (row.get(0)?, row.get(1)?);
    let parent: Option<String> = row.get(2)?;
    let damaged = |what| file.corrupt(format!("run {run} of {scope}"), format!("its {what} is damaged"));
    Ok(RunHeader {
        scope: scope.clone(),
        thread: ThreadId::new(thread).map_err(|_| damaged("thread"))?,
        run: RunId::new(&run).map_err(|_| damaged("id"))?,
        parent: parent.map(RunId::new).transpose().map_err(|_| damaged("parent"))?,
        agent: row.get(3)?,
    })
}

fn failure(row: &Row<'_>) -> rusqlite::Result<Option<Failure>> {
    let (reason, message) = (row.get::<_, Option<String>>(8)?, row.get::<_, Option<String>>(9)?);
    Ok(reason.zip(message).and_then(|(reason, message)| Some(Failure { reason: FailReason::parse(&reason)?, message })))
}

fn cancel(row: &Row<'_>) -> rusqlite::Result<Option<CancelReason>> {
    let (by, why) = (row.get::<_, Option<String>>(10)?, row.get::<_, Option<String>>(11)?);
    Ok(by.zip(why).map(|(by, why)| CancelReason { by, why }))
}

/// Text that was valid JSON when it was stored.
pub(crate) fn json(text: String) -> Option<RawJson> {
    RawValue::from_string(text).ok().map(RawJson::from)
}
