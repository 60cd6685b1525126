//! Wishes to stop runs that are not there yet.

use std::time::Duration;

use insula_context::{RunId, Timestamp};

use crate::{error::Worked, transaction::Tx};

/// How long a wish waits for its run.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// Wishes per owner.
const MOST: i64 = 1_000;

/// Whether a wish of this time has waited too long.
pub(crate) fn is_over(asked_at: i64, now: Timestamp) -> bool {
    asked_at <= oldest(now)
}

fn oldest(now: Timestamp) -> i64 {
    now.as_micros().saturating_sub(i64::try_from(LIFE.as_micros()).unwrap_or(i64::MAX))
}

/// The runs are there.
pub(crate) async fn fulfil(tx: &mut Tx, runs: &[(i64, String)]) -> Worked<()> {
    const FULFIL: &str = "DELETE FROM insula.ahead a USING unnest($1::bigint[], $2::text[]) AS w(owner_no, run_id)
        WHERE a.owner_no = w.owner_no AND a.run_id = w.run_id";
    let owners: Vec<i64> = runs.iter().map(|(owner, _)| *owner).collect();
    let ids: Vec<&str> = runs.iter().map(|(_, run)| run.as_str()).collect();
    sqlx::query(FULFIL).bind(owners).bind(ids).execute(tx.on()).await?;
    Ok(())
}

/// Writes a wish down, unless there is one for this run. The oldest makes room.
pub(crate) async fn write_down(
    tx: &mut Tx,
    owner: i64,
    run: &RunId,
    (by, why): (&str, &str),
    now: Timestamp,
) -> Worked<()> {
    const EXPIRE: &str = "DELETE FROM insula.ahead WHERE owner_no = $1 AND asked_at <= $2";
    const INSERT: &str = "INSERT INTO insula.ahead (owner_no, run_id, asked_at, by, why) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";
    const CROWD_OUT: &str = "DELETE FROM insula.ahead WHERE owner_no = $1 AND ahead_no <=
        (SELECT ahead_no FROM insula.ahead WHERE owner_no = $1 ORDER BY ahead_no DESC OFFSET $2 LIMIT 1)";
    sqlx::query(EXPIRE).bind(owner).bind(oldest(now)).execute(tx.on()).await?;
    let insert = sqlx::query(INSERT).bind(owner).bind(run.as_str()).bind(now.as_micros());
    insert.bind(by).bind(why).execute(tx.on()).await?;
    sqlx::query(CROWD_OUT).bind(owner).bind(MOST).execute(tx.on()).await?;
    Ok(())
}
