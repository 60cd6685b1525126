//! Handing out runs: whose time has come, owners in turn.
//!
//! The function `insula.claim` chooses and holds them across owners, and says numbers; their rows are read behind the wall
//! like any others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use insula_context::{ScopeIssuer, Timestamp, UserScope};
use insula_infra::{Claimed, Error, Lease, WorkerId};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{Server, Worked},
    questions,
    rows::{self, RUN_COLUMNS, run_columns},
    store::Store,
    transaction::{Kind, Tx},
};

/// How much a claim takes, for whom, and where the last one stopped.
#[derive(Debug, Clone)]
struct Wanted {
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
    runs: i32,
    per_owner: i64,
    turn: (i64, i32),
}

impl Store {
    /// Runs for this worker.
    pub(crate) async fn take_runs(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let mut turn = self.shared.turn.lock().await;
        let now = self.shared.clock.now();
        let wanted = Wanted {
            worker: worker.clone(),
            now,
            until: now.plus(lease),
            runs: i32::try_from(max).unwrap_or(i32::MAX),
            per_owner: i64::try_from(per_owner).unwrap_or(i64::MAX),
            turn: *turn,
        };
        // A claim that is lost with the power was never made: what is written under it is durable only together with it.
        let taken = self.across("claim", Kind::WriteAhead, wanted, |tx, wanted| Box::pin(take(tx, wanted))).await?;
        let (claimed, next) = taken;
        *turn = next;
        Ok(claimed)
    }
}

async fn take(tx: &mut Tx, wanted: &Wanted) -> Worked<(Vec<Claimed>, (i64, i32))> {
    const CLAIM: &str = "SELECT claimed_owners, claimed_runs, turn_owner, turn_served
        FROM insula.claim($1, $2, $3, $4, $5, $6, $7)";
    let (last, served) = wanted.turn;
    let row = sqlx::query(CLAIM)
        .bind(wanted.worker.as_str())
        .bind(wanted.now.as_micros())
        .bind(wanted.until.as_micros())
        .bind(wanted.runs)
        .bind(wanted.per_owner)
        .bind(last)
        .bind(served)
        .fetch_one(tx.on())
        .await?;
    let (owners, runs): (Vec<i64>, Vec<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let turn = (row.try_get(2)?, row.try_get(3)?);
    if runs.is_empty() {
        return Ok((Vec::new(), turn));
    }
    let names = enter_named(tx, &owners).await?;
    Ok((read(tx, wanted, (&owners, &runs), &names).await?, turn))
}

async fn read(
    tx: &mut Tx,
    wanted: &Wanted,
    (owners, runs): (&[i64], &[i64]),
    names: &HashMap<i64, UserScope>,
) -> Worked<Vec<Claimed>> {
    const HELD: &str = concat!(
        "SELECT ",
        run_columns!(),
        ", r.token, r.deadline, r.options, r.answered, r.owner_no
         FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS w(owner_no, run_no, n)
         JOIN insula.runs r ON r.owner_no = w.owner_no AND r.run_no = w.run_no
         JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no ORDER BY w.n"
    );
    let rows = sqlx::query(HELD).bind(owners).bind(runs).fetch_all(tx.on()).await?;
    let mut claimed = Vec::new();
    for row in &rows {
        match held(tx, row, wanted, names).await {
            Ok(run) => claimed.push(run),
            // One damaged row must not keep everybody's runs from being handed out.
            Err(crate::error::Stop::Refused(error)) => tracing::error!(%error, "a run cannot be handed out"),
            Err(failed) => return Err(failed),
        }
    }
    Ok(claimed)
}

async fn held(tx: &mut Tx, row: &PgRow, wanted: &Wanted, names: &HashMap<i64, UserScope>) -> Worked<Claimed> {
    let owner: i64 = row.try_get(RUN_COLUMNS + 4)?;
    let scope = names.get(&owner).ok_or_else(|| tx.server.corrupt(format!("owner number {owner}"), "has no name"))?;
    let record = rows::record(row, scope, &tx.server)?;
    let token: i64 = row.try_get(RUN_COLUMNS)?;
    let header = Arc::clone(&record.header);
    let lease = Lease { header, worker: wanted.worker.clone(), token: token.cast_unsigned() };
    let deadline = row.try_get::<Option<i64>, _>(RUN_COLUMNS + 1)?.map(Timestamp::from_micros);
    let options = row.try_get::<Option<String>, _>(RUN_COLUMNS + 2)?.and_then(rows::json);
    let answers = match row.try_get::<i64, _>(RUN_COLUMNS + 3)? {
        0 => Vec::new(),
        _ => questions::answers(tx, owner, row.try_get(rows::RUN_NO)?).await?,
    };
    Ok(Claimed { lease, run: record, deadline, options, answers, now: wanted.now })
}

/// Enters these owners, and says who they are.
pub(crate) async fn enter_named(tx: &mut Tx, owners: &[i64]) -> Worked<HashMap<i64, UserScope>> {
    const NAMES: &str = "SELECT owner_no, tenant_id, user_id FROM insula.names_of($1)";
    let mut numbers = owners.to_vec();
    numbers.sort_unstable();
    numbers.dedup();
    tx.enter(&numbers).await?;
    let rows = sqlx::query(NAMES).bind(&numbers).fetch_all(tx.on()).await?;
    let mut names = HashMap::new();
    for row in &rows {
        let (tenant, user): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        match scope(&tenant, &user, &tx.server) {
            Ok(scope) => drop(names.insert(row.try_get(0)?, scope)),
            Err(error) => tracing::error!(%error, "an owner cannot be named"),
        }
    }
    Ok(names)
}

/// The owner of something stored: authenticated when it was written, and read back here.
#[expect(clippy::disallowed_methods, reason = "the scope was issued when the row was written, and is only read back")]
pub(crate) fn scope(tenant: &str, user: &str, server: &Server) -> Result<UserScope, Error> {
    ScopeIssuer::new().issue(tenant, user).map_err(|_| server.corrupt("an owner", "its tenant or user is damaged"))
}
