//! Lists of runs, the youngest first.

use insula_context::{RunId, UserScope};
use insula_infra::{RunFilter, RunRecord, RunStatus};
use sqlx::Row;

use crate::{
    error::Worked,
    rows::{self, run_columns},
    transaction::Tx,
};

/// Which runs, and which part of them.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) scope: UserScope,
    pub(crate) filter: RunFilter,
    pub(crate) before: i64,
    pub(crate) most: usize,
}

/// Every list has the same parameters, and a condition of its own.
macro_rules! list {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            run_columns!(),
            " FROM insula.runs r JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
            WHERE r.owner_no = $1 AND r.run_no < $2 AND ($4::text IS NULL OR r.status = $4)
            AND ($5::text IS NULL OR r.agent = $5) AND ($6::text IS NULL OR r.parent_run_id = $6)
            AND ($7::text IS NULL OR t.thread_id = $7) ",
            $condition,
            " ORDER BY r.run_no DESC LIMIT $3"
        )
    };
}

/// Runs that have not ended are in an index of their own: looking for them costs the same after any number of ends. Runs of a
/// thread are in one as well.
fn narrowed(filter: &RunFilter) -> &'static str {
    const OPEN: &str = list!("AND r.place IS NOT NULL");
    const OF_THREAD: &str = list!(
        "AND r.thread_no =
            (SELECT w.thread_no FROM insula.threads w WHERE w.owner_no = $1 AND w.thread_id = $7)"
    );
    const ALL: &str = list!("");
    match (filter.status.is_some_and(|status| !status.is_terminal()), filter.thread.is_some()) {
        (true, _) => OPEN,
        (false, true) => OF_THREAD,
        (false, false) => ALL,
    }
}

/// The runs that the filter lets through, with their numbers.
pub(crate) async fn runs(tx: &mut Tx, wanted: &Wanted) -> Worked<Vec<(i64, RunRecord)>> {
    let Wanted { scope, filter, before, most } = wanted;
    let rows = sqlx::query(narrowed(filter))
        .bind(tx.owner)
        .bind(before)
        .bind(i64::try_from(*most).unwrap_or(i64::MAX))
        .bind(filter.status.map(RunStatus::as_str))
        .bind(filter.agent.as_deref())
        .bind(filter.parent.as_ref().map(RunId::as_str))
        .bind(filter.thread.as_ref().map(|thread| thread.as_str()))
        .fetch_all(tx.on())
        .await?;
    rows.iter().map(|row| Ok((row.try_get(rows::RUN_NO)?, rows::record(row, scope, &tx.server)?))).collect()
}
