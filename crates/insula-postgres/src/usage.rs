//! What was used: one row per owner, day, agent and writing process, changed by the append that uses something.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{Error, UsageRow, UsageStore};
use sqlx::{Row, postgres::PgRow};

use crate::{error::Worked, store::Store, transaction::Tx};

#[async_trait]
impl UsageStore for Store {
    async fn usage(&self, scope: &UserScope, from: i64, to: i64) -> Result<Vec<UsageRow>, Error> {
        let found = self.read_late("read usage", scope, (from, to), |tx, days| Box::pin(of(tx, *days))).await?;
        Ok(found.unwrap_or_default())
    }
}

/// What all processes have counted of a day and an agent is one row.
async fn of(tx: &mut Tx, (from, to): (i64, i64)) -> Worked<Vec<UsageRow>> {
    const DAYS: &str =
        "SELECT day, agent, completed, failed, cancelled, tokens, money, run_micros, took FROM insula.usage
        WHERE owner_no = $1 AND day BETWEEN $2 AND $3 ORDER BY day, agent, shard";
    let owner = tx.owner;
    let rows = sqlx::query(DAYS).bind(owner).bind(from).bind(to).fetch_all(tx.on()).await?;
    let mut found: Vec<UsageRow> = Vec::new();
    for row in &rows {
        let row = read(row)?;
        match found.last_mut().filter(|last| last.day == row.day && last.agent == row.agent) {
            Some(last) => plus(last, &row),
            None => found.push(row),
        }
    }
    Ok(found)
}

fn read(row: &PgRow) -> sqlx::Result<UsageRow> {
    let amount = |column| row.try_get(column).map(count);
    let mut took: Vec<u64> = row.try_get::<Vec<i64>, _>(8)?.into_iter().map(count).collect();
    took.resize(UsageRow::BUCKETS, 0);
    Ok(UsageRow {
        day: row.try_get(0)?,
        agent: row.try_get(1)?,
        completed: amount(2)?,
        failed: amount(3)?,
        cancelled: amount(4)?,
        tokens: amount(5)?,
        money: amount(6)?,
        run_micros: amount(7)?,
        took,
    })
}

/// What was used by an owner's agent on the day of the row.
#[derive(Debug, Clone)]
pub(crate) struct Sum {
    pub(crate) owner: i64,
    pub(crate) agent: Arc<str>,
    pub(crate) row: UsageRow,
}

/// Adds to what this process has counted. What two sums say of one day of one agent is added up first; rows are locked in
/// the order of their keys.
pub(crate) async fn add(tx: &mut Tx, shard: i16, sums: &[Sum]) -> Worked<()> {
    if sums.is_empty() {
        return Ok(());
    }
    let rows = merged(sums);
    let column = |of: fn(&UsageRow) -> u64| -> Vec<i64> { rows.values().map(|row| whole(of(row))).collect() };
    let owners: Vec<i64> = rows.keys().map(|key| key.0).collect();
    let days: Vec<i64> = rows.keys().map(|key| key.1).collect();
    let agents: Vec<&str> = rows.keys().map(|key| key.2).collect();
    let took: Vec<i64> = rows.values().flat_map(|row| &row.took).map(|runs| whole(*runs)).collect();
    sqlx::query(ADD)
        .bind(shard)
        .bind(owners)
        .bind(days)
        .bind(agents)
        .bind(column(|row| row.completed))
        .bind(column(|row| row.failed))
        .bind(column(|row| row.cancelled))
        .bind(column(|row| row.tokens))
        .bind(column(|row| row.money))
        .bind(column(|row| row.run_micros))
        .bind(took)
        .bind(UsageRow::BUCKETS as i32)
        .execute(tx.on())
        .await?;
    Ok(())
}

/// Amounts may be as large as anybody likes: the largest number that is stored stands for all beyond it. Arrays of arrays
/// cannot be taken apart row by row, so all buckets come in one, so many of them for each row.
const ADD: &str = "INSERT INTO insula.usage AS u
    (owner_no, day, agent, shard, completed, failed, cancelled, tokens, money, run_micros, took)
    SELECT n.owner_no, n.day, n.agent, $1, n.completed, n.failed, n.cancelled, n.tokens, n.money, n.run_micros,
        ($11::bigint[])[(n.place - 1) * $12 + 1 : n.place * $12]
    FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::bigint[], $10::bigint[]) WITH ORDINALITY
        AS n(owner_no, day, agent, completed, failed, cancelled, tokens, money, run_micros, place)
    ORDER BY n.place
    ON CONFLICT (owner_no, day, agent, shard) DO UPDATE SET
    completed = u.completed + excluded.completed, failed = u.failed + excluded.failed,
    cancelled = u.cancelled + excluded.cancelled,
    tokens = least(u.tokens::numeric + excluded.tokens, 9223372036854775807)::bigint,
    money = least(u.money::numeric + excluded.money, 9223372036854775807)::bigint,
    run_micros = least(u.run_micros::numeric + excluded.run_micros, 9223372036854775807)::bigint,
    took = (SELECT array_agg(coalesce(t.before, 0) + coalesce(t.more, 0) ORDER BY t.place)
        FROM unnest(u.took, excluded.took) WITH ORDINALITY AS t(before, more, place))";

/// By owner, day and agent: in the order in which rows are locked.
fn merged(sums: &[Sum]) -> BTreeMap<(i64, i64, &str), UsageRow> {
    let mut rows = BTreeMap::new();
    for Sum { owner, agent, row } in sums {
        let into = rows.entry((*owner, row.day, &**agent)).or_insert_with(|| UsageRow::new(row.day, agent));
        plus(into, row);
    }
    rows
}

fn plus(into: &mut UsageRow, row: &UsageRow) {
    for (sum, more) in [
        (&mut into.completed, row.completed),
        (&mut into.failed, row.failed),
        (&mut into.cancelled, row.cancelled),
        (&mut into.tokens, row.tokens),
        (&mut into.money, row.money),
        (&mut into.run_micros, row.run_micros),
    ] {
        *sum = sum.saturating_add(more);
    }
    for (runs, more) in into.took.iter_mut().zip(&row.took) {
        *runs = runs.saturating_add(*more);
    }
}

/// The largest number that is stored stands for all beyond it.
fn whole(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

fn count(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}
