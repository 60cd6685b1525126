//! What others want of the runs that a worker holds.

use std::{collections::HashMap, sync::Arc};

use insula_context::{CancelReason, UserScope};
use insula_infra::{Error, News, WorkerId};
use sqlx::{Row, postgres::PgRow};

use crate::{
    claim,
    error::{Stop, Worked},
    questions,
    rows::{self, RUN_COLUMNS, run_columns},
    store::Store,
    transaction::{Kind, Tx},
};

impl Store {
    pub(crate) async fn read_news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        self.across("read news", Kind::Read, worker.clone(), |tx, worker| Box::pin(of(tx, worker))).await
    }
}

async fn of(tx: &mut Tx, worker: &WorkerId) -> Worked<Vec<News>> {
    const OWNERS: &str = "SELECT insula.owners_with_news($1)";
    const TOLD: &str = concat!(
        "SELECT ",
        run_columns!(),
        ", r.answered, r.owner_no FROM insula.runs r
         JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
         WHERE r.owner_no = ANY ($2) AND r.place = 3 AND (r.cancel_by IS NOT NULL OR r.answered > 0) AND r.worker = $1
         ORDER BY r.run_no"
    );
    let owners: Vec<i64> = sqlx::query_scalar(OWNERS).bind(worker.as_str()).fetch_one(tx.on()).await?;
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    let names = claim::enter_named(tx, &owners).await?;
    let rows = sqlx::query(TOLD).bind(worker.as_str()).bind(&owners).fetch_all(tx.on()).await?;
    let mut news = Vec::new();
    for row in &rows {
        match one(tx, row, &names).await {
            Ok(one) => news.push(one),
            Err(Stop::Refused(error)) => tracing::error!(%error, "news of a run cannot be read"),
            Err(failed) => return Err(failed),
        }
    }
    Ok(news)
}

async fn one(tx: &mut Tx, row: &PgRow, names: &HashMap<i64, UserScope>) -> Worked<News> {
    let owner: i64 = row.try_get(RUN_COLUMNS + 1)?;
    let scope = names.get(&owner).ok_or_else(|| tx.server.corrupt(format!("owner number {owner}"), "has no name"))?;
    let header = rows::header(row, scope, &tx.server)?;
    let (by, why): (Option<String>, Option<String>) = (row.try_get("cancel_by")?, row.try_get("cancel_why")?);
    let answers = match row.try_get::<i64, _>(RUN_COLUMNS)? {
        0 => Vec::new(),
        _ => questions::answers(tx, owner, row.try_get(rows::RUN_NO)?).await?,
    };
    let stop = by.zip(why).map(|(by, why)| CancelReason { by, why });
    Ok(News { header: Arc::new(header), stop, answers })
}
