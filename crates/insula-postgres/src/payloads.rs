//! Large values, once per owner, and which runs refer to them.

use insula_infra::Payload;

use crate::{error::Worked, transaction::Tx};

/// A payload that a run refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept<'a> {
    pub(crate) owner: i64,
    pub(crate) run: i64,
    pub(crate) payload: &'a Payload,
}

/// Keeps the bytes, and which runs refer to them.
///
/// Bytes that are there already are locked and left as they are. Otherwise whoever [removes](remove) them at the same time
/// would not see that somebody refers to them again.
pub(crate) async fn keep(tx: &mut Tx, kept: &[Kept<'_>]) -> Worked<()> {
    const KEEP: &str = "INSERT INTO insula.payloads AS p (owner_no, hash, bytes)
        SELECT DISTINCT ON (owner_no, hash) owner_no, hash, bytes
        FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS w(owner_no, hash, bytes) ORDER BY owner_no, hash
        ON CONFLICT (owner_no, hash) DO UPDATE SET hash = p.hash WHERE false";
    const USE: &str = "INSERT INTO insula.payload_uses (owner_no, run_no, hash)
        SELECT DISTINCT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) ON CONFLICT DO NOTHING";
    let owners: Vec<i64> = kept.iter().map(|kept| kept.owner).collect();
    let runs: Vec<i64> = kept.iter().map(|kept| kept.run).collect();
    let hashes: Vec<Vec<u8>> = kept.iter().map(|kept| kept.payload.hash().as_bytes().to_vec()).collect();
    let bytes: Vec<&[u8]> = kept.iter().map(|kept| &kept.payload.bytes()[..]).collect();
    sqlx::query(KEEP).bind(&owners).bind(&hashes).bind(bytes).execute(tx.on()).await?;
    sqlx::query(USE).bind(&owners).bind(runs).bind(&hashes).execute(tx.on()).await?;
    Ok(())
}

/// Removes what the runs of these threads (pairs of an owner and a thread) refer to, if no other run does.
pub(crate) async fn remove(tx: &mut Tx, owners: &[i64], threads: &[i64]) -> Worked<()> {
    const USES: &str = "WITH r AS (SELECT r.owner_no, r.run_no
            FROM unnest($1::bigint[], $2::bigint[]) AS w(owner_no, thread_no)
            JOIN insula.runs r ON r.owner_no = w.owner_no AND r.thread_no = w.thread_no),
        gone AS (DELETE FROM insula.payload_uses d USING r WHERE d.owner_no = r.owner_no AND d.run_no = r.run_no
            RETURNING d.owner_no, d.hash)
        SELECT DISTINCT owner_no, hash FROM gone";
    // In the order in which they are kept.
    const LOCK: &str = "SELECT 1 FROM unnest($1::bigint[], $2::bytea[]) AS w(owner_no, hash)
        JOIN insula.payloads p ON p.owner_no = w.owner_no AND p.hash = w.hash
        ORDER BY p.owner_no, p.hash FOR UPDATE OF p";
    // A statement of its own: it sees what those have committed who held the locks before.
    const REMOVE: &str = "DELETE FROM insula.payloads d USING unnest($1::bigint[], $2::bytea[]) AS w(owner_no, hash)
        WHERE d.owner_no = w.owner_no AND d.hash = w.hash AND NOT EXISTS (SELECT 1 FROM insula.payload_uses u
            WHERE u.owner_no = w.owner_no AND u.hash = w.hash)";
    let uses: Vec<(i64, Vec<u8>)> = sqlx::query_as(USES).bind(owners).bind(threads).fetch_all(tx.on()).await?;
    if uses.is_empty() {
        return Ok(());
    }
    let (of, hashes): (Vec<i64>, Vec<Vec<u8>>) = uses.into_iter().unzip();
    sqlx::query(LOCK).bind(&of).bind(&hashes).execute(tx.on()).await?;
    sqlx::query(REMOVE).bind(&of).bind(&hashes).execute(tx.on()).await?;
    Ok(())
}
