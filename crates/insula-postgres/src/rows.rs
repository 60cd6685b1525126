//! Rows of runs, as they are read.

use std::sync::Arc;

use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{FailReason, Failure, RawJson, RunHeader, RunRecord, RunStatus, WaitFor};
use serde_json::value::RawValue;
use sqlx::{Row, postgres::PgRow};

use crate::error::{Server, Worked};

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

impl Place {
    /// The meaning of a stored number.
    pub(crate) fn parse(number: i16) -> Option<Self> {
        [Self::Ready, Self::Asleep, Self::Held, Self::Blocked].into_iter().find(|place| *place as i16 == number)
    }
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

/// Which of them tells the number.
pub(crate) const RUN_NO: usize = 16;

/// A row of [`run_columns`] as its owner reads it.
pub(crate) fn record(row: &PgRow, scope: &UserScope, server: &Server) -> Worked<RunRecord> {
    let id: String = row.try_get(0)?;
    let damaged = |what: &str| server.corrupt(format!("run {id} of {scope}"), format!("its {what} is damaged"));
    let header = header(row, scope, server)?;
    let status: String = row.try_get(5)?;
    let result: Option<String> = row.try_get(7)?;
    let waits_for: Option<String> = row.try_get(17)?;
    let at = |column: usize| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros));
    Ok(RunRecord {
        header: Arc::new(header),
        version: Arc::from(row.try_get::<String, _>(4)?),
        status: RunStatus::parse(&status).ok_or_else(|| damaged("status"))?,
        input: json(row.try_get(6)?).ok_or_else(|| damaged("input"))?,
        result: result.map(|text| json(text).ok_or_else(|| damaged("result"))).transpose()?,
        failure: failure(row)?,
        cancel: cancel(row)?,
        waits_for: waits_for.and_then(|word| WaitFor::parse(&word)),
        rolled_back: row.try_get(18)?,
        created_at: Timestamp::from_micros(row.try_get(12)?),
        started_at: at(13)?,
        ended_at: at(14)?,
        events: row.try_get::<i64, _>(15)?.cast_unsigned(),
    })
}

/// Whose run it is, and which: the first four of [`run_columns`].
pub(crate) fn header(row: &PgRow, scope: &UserScope, server: &Server) -> Worked<RunHeader> {
    let (run, thread): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let parent: Option<String> = row.try_get(2)?;
    let damaged = |what| server.corrupt(format!("run {run} of {scope}"), format!("its {what} is damaged"));
    Ok(RunHeader {
        scope: scope.clone(),
        thread: ThreadId::new(thread).map_err(|_| damaged("thread"))?,
        run: RunId::new(&run).map_err(|_| damaged("id"))?,
        parent: parent.map(RunId::new).transpose().map_err(|_| damaged("parent"))?,
        agent: Arc::from(row.try_get::<String, _>(3)?),
    })
}

fn failure(row: &PgRow) -> sqlx::Result<Option<Failure>> {
    let (reason, message): (Option<String>, Option<String>) = (row.try_get(8)?, row.try_get(9)?);
    Ok(reason.zip(message).and_then(|(reason, message)| Some(Failure { reason: FailReason::parse(&reason)?, message })))
}

fn cancel(row: &PgRow) -> sqlx::Result<Option<CancelReason>> {
    let (by, why): (Option<String>, Option<String>) = (row.try_get(10)?, row.try_get(11)?);
    Ok(by.zip(why).map(|(by, why)| CancelReason { by, why }))
}

/// Text that was valid JSON when it was stored.
pub(crate) fn json(text: String) -> Option<RawJson> {
    RawValue::from_string(text).ok().map(RawJson::from)
}
