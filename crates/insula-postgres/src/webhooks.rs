//! Calls: made with their run, due from the transaction in which it ends.

use insula_context::Timestamp;

use crate::{error::Worked, transaction::Tx};

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
