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
pub(crate) async fn keep(tx: &mut Tx, kept: &[Kept<'_>]) -> Worked<()> {
    const KEEP: &str = "INSERT INTO insula.payloads (owner_no, hash, bytes)
        SELECT DISTINCT ON (owner_no, hash) owner_no, hash, bytes
        FROM unnest($1::bigint[], $2::bytea[], $3::bytea[]) AS w(owner_no, hash, bytes) ORDER BY owner_no, hash
        ON CONFLICT DO NOTHING";
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
