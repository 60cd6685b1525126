//! Wishes to stop runs that are not there yet. An owner who has none costs no statement: the owner's row says how many.

use std::time::Duration;

use insula_context::{CancelReason, RunId, Timestamp, UserScope};
use rusqlite::{OptionalExtension, params};

use crate::transaction::{Owner, Tx};

/// How long a wish waits for its run.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// Wishes per owner.
const MOST: i64 = 1_000;

/// The wish that waits for this run.
pub(crate) fn wish(tx: &Tx<'_>, owner: &Owner, run: &RunId, now: Timestamp) -> rusqlite::Result<Option<CancelReason>> {
    const WISH: &str = "SELECT by, why FROM ahead WHERE owner_no = ?1 AND run_id = ?2 AND asked_at > ?3";
    if owner.ahead == 0 {
        return Ok(None);
    }
    let read = |row: &rusqlite::Row<'_>| Ok(CancelReason { by: row.get(0)?, why: row.get(1)? });
    let key = params![owner.number, run.as_str(), oldest(now)];
    tx.connection.prepare_cached(WISH)?.query_row(key, read).optional()
}

/// The run is there. The caller writes the owner's row.
pub(crate) fn fulfil(tx: &Tx<'_>, owner: &mut Owner, run: &RunId) -> rusqlite::Result<()> {
    const FULFIL: &str = "DELETE FROM ahead WHERE owner_no = ?1 AND run_id = ?2";
    let gone = tx.connection.prepare_cached(FULFIL)?.execute(params![owner.number, run.as_str()])?;
    owner.ahead -= i64::try_from(gone).unwrap_or(i64::MAX);
    Ok(())
}

/// Writes a wish down, unless there is one for this run. The oldest makes room.
pub(crate) fn write_down(
    tx: &mut Tx<'_>,
    scope: &UserScope,
    run: &RunId,
    reason: &CancelReason,
    now: Timestamp,
) -> rusqlite::Result<()> {
    const EXPIRE: &str = "DELETE FROM ahead WHERE owner_no = ?1 AND asked_at <= ?2";
    const INSERT: &str = "INSERT INTO ahead (owner_no, run_id, asked_at, by, why) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT DO NOTHING";
    const CROWD_OUT: &str = "DELETE FROM ahead WHERE ahead_no IN
        (SELECT ahead_no FROM ahead INDEXED BY ahead_by_age WHERE owner_no = ?1 ORDER BY ahead_no LIMIT ?2)";
    const COUNT: &str = "SELECT count(*) FROM ahead INDEXED BY ahead_by_age WHERE owner_no = ?1";
    let mut owner = tx.owner_or_new(scope)?;
    tx.connection.prepare_cached(EXPIRE)?.execute(params![owner.number, oldest(now)])?;
    let wish = params![owner.number, run.as_str(), now.as_micros(), reason.by, reason.why];
    tx.connection.prepare_cached(INSERT)?.execute(wish)?;
    owner.ahead = tx.connection.prepare_cached(COUNT)?.query_row([owner.number], |row| row.get(0))?;
    if owner.ahead > MOST {
        tx.connection.prepare_cached(CROWD_OUT)?.execute(params![owner.number, owner.ahead - MOST])?;
        owner.ahead = MOST;
    }
    tx.set_owner(scope, owner)
}

/// A wish of this time has waited too long.
fn oldest(now: Timestamp) -> i64 {
    now.as_micros().saturating_sub(i64::try_from(LIFE.as_micros()).unwrap_or(i64::MAX))
}
