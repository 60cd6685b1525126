//! Calls: made with their run, due from the transaction in which it ends.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{Attempt, Error, Page, PageRequest, WebhookRecord, WebhookState, Webhooks, pages};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{self, Server, Worked},
    owners, rows,
    store::Store,
    stored::{self, most},
    transaction::{Kind, Tx},
};

/// The columns of a call, in the order of [`record`].
macro_rules! call_columns {
    () => {
        "r.run_id, t.thread_id, r.parent_run_id, r.agent, w.target, w.state, w.attempts, w.next_at, w.last_error, \
         r.ended_at, w.run_no"
    };
}

/// Where they come from. A call whose thread is being deleted is not there any more.
macro_rules! with_run {
    () => {
        " JOIN insula.runs r ON r.owner_no = w.owner_no AND r.run_no = w.run_no
          JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no "
    };
}

/// Which column tells the number of the run, and how many there are.
const RUN_NO: usize = 10;
const COLUMNS: usize = 11;

#[async_trait]
impl Webhooks for Store {
    async fn due_webhooks(&self, hold: Duration, max: usize) -> Result<Vec<WebhookRecord>, Error> {
        let now = self.shared.clock.now();
        let with = (now, now.plus(hold), max);
        self.across("take due calls", Kind::Write, with, |tx, (now, until, max)| Box::pin(take(tx, *now, *until, *max)))
            .await
    }

    async fn settle_webhook(&self, scope: &UserScope, run: &RunId, attempt: Attempt) -> Result<(), Error> {
        let with = (run.clone(), attempt);
        let settled =
            self.change("settle a call", scope, with, |tx, (run, attempt)| Box::pin(settle(tx, run, attempt)));
        Ok(settled.await?.unwrap_or_default())
    }

    async fn webhooks(
        &self,
        scope: &UserScope,
        state: Option<WebhookState>,
        page: &PageRequest,
    ) -> Result<Page<WebhookRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let with = (scope.clone(), state, before, limit + 1);
        let found = self.read("list calls", scope, with, |tx, (scope, state, before, max)| {
            Box::pin(list(tx, scope, *state, *before, *max))
        });
        Ok(pages::cut(found.await?.unwrap_or_default(), limit))
    }

    async fn resend_webhook(&self, scope: &UserScope, run: &RunId) -> Result<Option<WebhookRecord>, Error> {
        let with = (scope.clone(), run.clone(), self.shared.clock.now());
        let found =
            self.change("make a call due", scope, with, |tx, (scope, run, now)| Box::pin(resend(tx, scope, run, *now)));
        Ok(found.await?.flatten())
    }
}

/// The call of a run that is new.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) owner: i64,
    pub(crate) run: i64,
    pub(crate) target: &'a str,
}

/// Keeps the calls of new runs.
pub(crate) async fn keep(tx: &mut Tx, calls: &[Call<'_>]) -> Worked<()> {
    const KEEP: &str = "INSERT INTO insula.webhooks (owner_no, run_no, state, attempts, target)
        SELECT c.owner_no, c.run_no, 'waiting', 0, c.target
        FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS c(owner_no, run_no, target)";
    if calls.is_empty() {
        return Ok(());
    }
    let owners: Vec<i64> = calls.iter().map(|call| call.owner).collect();
    let runs: Vec<i64> = calls.iter().map(|call| call.run).collect();
    let targets: Vec<&str> = calls.iter().map(|call| call.target).collect();
    sqlx::query(KEEP).bind(owners).bind(runs).bind(targets).execute(tx.on()).await?;
    Ok(())
}

/// Runs have ended (owner and run): their calls are due, where they have one. Nothing is written otherwise.
pub(crate) async fn ring(tx: &mut Tx, ended: &[(i64, i64)], now: Timestamp) -> Worked<()> {
    const RING: &str = "UPDATE insula.webhooks w SET state = 'due', next_at = $3
        FROM unnest($1::bigint[], $2::bigint[]) AS e(owner_no, run_no)
        WHERE w.owner_no = e.owner_no AND w.run_no = e.run_no AND w.state = 'waiting'";
    if ended.is_empty() {
        return Ok(());
    }
    let (owners, runs): (Vec<i64>, Vec<i64>) = ended.iter().copied().unzip();
    sqlx::query(RING).bind(owners).bind(runs).bind(now.as_micros()).execute(tx.on()).await?;
    Ok(())
}

/// Takes what is due, and holds it until then. What another process is just taking is passed over.
async fn take(tx: &mut Tx, now: Timestamp, until: Timestamp, max: usize) -> Worked<Vec<WebhookRecord>> {
    const OWNERS: &str = "SELECT insula.owners_with_due_calls($1, $2)";
    const TAKE: &str = concat!(
        "WITH due AS (
             SELECT owner_no, run_no, next_at AS due_at FROM insula.webhooks
             WHERE owner_no = ANY($1) AND state = 'due' AND next_at <= $2 ORDER BY next_at LIMIT $4
             FOR UPDATE SKIP LOCKED),
         w AS (
             UPDATE insula.webhooks h SET next_at = $3 FROM due
             WHERE h.owner_no = due.owner_no AND h.run_no = due.run_no RETURNING h.*, due.due_at)
         SELECT ",
        call_columns!(),
        ", o.tenant_id, o.user_id FROM w",
        with_run!(),
        "JOIN insula.owners o ON o.owner_no = w.owner_no ORDER BY w.due_at"
    );
    let (now, until, max) = (now.as_micros(), until.as_micros(), most(max));
    let owners: Vec<i64> = sqlx::query_scalar(OWNERS).bind(now).bind(max).fetch_one(tx.on()).await?;
    if owners.is_empty() {
        return Ok(Vec::new());
    }
    tx.enter(&owners).await?;
    let rows = sqlx::query(TAKE).bind(owners).bind(now).bind(until).bind(max).fetch_all(tx.on()).await?;
    rows.iter().filter_map(|row| stored::readable(owned(row, &tx.server)).transpose()).collect()
}

fn owned(row: &PgRow, server: &Server) -> Worked<WebhookRecord> {
    let scope = owners::read_back(row.try_get(COLUMNS)?, row.try_get(COLUMNS + 1)?, server)?;
    record(row, &scope, server)
}

/// What came of an attempt at a call that is still due.
async fn settle(tx: &mut Tx, run: &RunId, attempt: &Attempt) -> Worked<()> {
    const SETTLE: &str = "UPDATE insula.webhooks SET state = $3, attempts = attempts + 1, next_at = $4, last_error = $5
        WHERE owner_no = $1 AND run_no = (SELECT run_no FROM insula.runs WHERE owner_no = $1 AND run_id = $2)
        AND state = 'due'";
    let (state, next_at, error) = match attempt {
        Attempt::Delivered => (WebhookState::Delivered, None, None),
        Attempt::Again { at, error } => (WebhookState::Due, Some(at.as_micros()), Some(error::text(error))),
        Attempt::Dead { error } => (WebhookState::Dead, None, Some(error::text(error))),
    };
    let owner = tx.owner;
    let settle = sqlx::query(SETTLE).bind(owner).bind(run.as_str()).bind(state.as_str());
    settle.bind(next_at).bind(error).execute(tx.on()).await?;
    Ok(())
}

async fn resend(tx: &mut Tx, scope: &UserScope, run: &RunId, now: Timestamp) -> Worked<Option<WebhookRecord>> {
    const RESEND: &str = concat!(
        "WITH w AS (
             UPDATE insula.webhooks SET state = 'due', attempts = 0, next_at = $3, last_error = NULL
             WHERE owner_no = $1 AND run_no = (SELECT run_no FROM insula.runs WHERE owner_no = $1 AND run_id = $2)
             AND state <> 'waiting' RETURNING *)
         SELECT ",
        call_columns!(),
        " FROM w",
        with_run!()
    );
    let owner = tx.owner;
    let resend = sqlx::query(RESEND).bind(owner).bind(run.as_str()).bind(now.as_micros());
    let row = resend.fetch_optional(tx.on()).await?;
    row.map(|row| record(&row, scope, &tx.server)).transpose()
}

/// Calls of an owner, of runs with a number below `before`, youngest first. Those that are not delivered are in an index
/// of their own, because what is looked for are the few among many.
async fn list(
    tx: &mut Tx,
    scope: &UserScope,
    state: Option<WebhookState>,
    before: i64,
    max: usize,
) -> Worked<Vec<(i64, WebhookRecord)>> {
    const MANY: &str = concat!(
        "SELECT ",
        call_columns!(),
        " FROM insula.webhooks w",
        with_run!(),
        "WHERE w.owner_no = $1 AND w.run_no < $2 AND ($4 IS NULL OR w.state = $4) ORDER BY w.run_no DESC LIMIT $3"
    );
    const OPEN: &str = concat!(
        "SELECT ",
        call_columns!(),
        " FROM insula.webhooks w",
        with_run!(),
        "WHERE w.owner_no = $1 AND w.run_no < $2 AND w.state = $4 AND w.state <> 'delivered'
         ORDER BY w.run_no DESC LIMIT $3"
    );
    let sql = match state {
        None | Some(WebhookState::Delivered) => MANY,
        Some(_) => OPEN,
    };
    let owner = tx.owner;
    let select = sqlx::query(sql).bind(owner).bind(before).bind(most(max)).bind(state.map(WebhookState::as_str));
    let rows = select.fetch_all(tx.on()).await?;
    rows.iter().map(|row| Ok((row.try_get(RUN_NO)?, record(row, scope, &tx.server)?))).collect()
}

fn record(row: &PgRow, scope: &UserScope, server: &Server) -> Worked<WebhookRecord> {
    let header = rows::header(row, scope, server)?;
    let damaged =
        |what: &str| server.corrupt(format!("the call of run {}", header.run), format!("its {what} is damaged"));
    let target = rows::json(row.try_get(4)?).ok_or_else(|| damaged("target"))?;
    let state = WebhookState::parse(row.try_get(5)?).ok_or_else(|| damaged("state"))?;
    Ok(WebhookRecord {
        target,
        state,
        attempts: u32::try_from(row.try_get::<i64, _>(6)?).unwrap_or(u32::MAX),
        next_at: row.try_get::<Option<i64>, _>(7)?.map(Timestamp::from_micros),
        last_error: row.try_get(8)?,
        ended_at: row.try_get::<Option<i64>, _>(9)?.map(Timestamp::from_micros),
        header: Arc::new(header),
    })
}
