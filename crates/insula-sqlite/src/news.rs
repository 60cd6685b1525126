//! What others want of the runs that a worker holds.

use std::sync::Arc;

use insula_context::{CancelReason, RunId, ThreadId};
use insula_infra::{News, RunHeader, WorkerId};
use rusqlite::{Connection, Row};

use crate::{
    claim,
    error::{File, Stop},
    questions,
};

/// The runs are in an index of their own: those of a worker without news cost nothing.
pub(crate) const TOLD: &str =
    "SELECT o.tenant_id, o.user_id, t.thread_id, r.run_id, r.parent_run_id, r.agent, r.cancel_by, r.cancel_why,
        r.answered, r.run_no
    FROM runs r INDEXED BY runs_told CROSS JOIN threads t ON t.thread_no = r.thread_no
    CROSS JOIN owners o ON o.owner_no = r.owner_no
    WHERE r.place = 3 AND (r.cancel_by IS NOT NULL OR r.answered > 0) AND r.worker = ?1 ORDER BY r.run_no";

pub(crate) fn of(connection: &Connection, worker: &WorkerId, file: &File) -> Result<Vec<News>, Stop> {
    let mut select = connection.prepare_cached(TOLD)?;
    let mut rows = select.query([worker.as_str()])?;
    let mut news = Vec::new();
    while let Some(row) = rows.next()? {
        let answers = match row.get::<_, i64>(8)? {
            0 => Vec::new(),
            _ => questions::answers(connection, row.get(9)?, file)?,
        };
        let (by, why): (Option<String>, Option<String>) = (row.get(6)?, row.get(7)?);
        let stop = by.zip(why).map(|(by, why)| CancelReason { by, why });
        news.push(News { header: Arc::new(header(row, file)?), stop, answers });
    }
    Ok(news)
}

fn header(row: &Row<'_>, file: &File) -> Result<RunHeader, Stop> {
    let text = |column| row.get::<_, String>(column);
    let damaged = |_| file.corrupt("a run with news", "its ids are damaged");
    Ok(RunHeader {
        scope: claim::scope(&text(0)?, &text(1)?, file)?,
        thread: ThreadId::new(text(2)?).map_err(damaged)?,
        run: RunId::new(text(3)?).map_err(damaged)?,
        parent: row.get::<_, Option<String>>(4)?.map(RunId::new).transpose().map_err(damaged)?,
        agent: row.get(5)?,
    })
}
