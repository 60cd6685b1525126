//! Large values, once per owner, and which runs refer to them.

use insula_infra::Payload;
use rusqlite::params;

use crate::transaction::Tx;

/// Keeps the bytes, and that this run refers to them.
pub(crate) fn keep(tx: &Tx<'_>, owner: i64, run: i64, payloads: &[Payload]) -> rusqlite::Result<()> {
    const KEEP: &str = "INSERT INTO payloads (owner_no, hash, bytes) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    const USE: &str = "INSERT INTO payload_uses (run_no, hash, owner_no) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    for payload in payloads {
        let (hash, bytes) = (payload.hash(), payload.bytes());
        tx.connection.prepare_cached(KEEP)?.execute(params![owner, hash.as_bytes(), &bytes[..]])?;
        tx.connection.prepare_cached(USE)?.execute(params![run, hash.as_bytes(), owner])?;
    }
    Ok(())
}

/// Forgets what a run refers to, and the bytes that nothing else refers to.
pub(crate) fn forget(tx: &Tx<'_>, owner: i64, run: i64) -> rusqlite::Result<()> {
    const FORGET: &str = "DELETE FROM payload_uses WHERE run_no = ?1 RETURNING hash";
    const DROP: &str = "DELETE FROM payloads WHERE owner_no = ?1 AND hash = ?2
        AND NOT EXISTS (SELECT 1 FROM payload_uses WHERE owner_no = ?1 AND hash = ?2)";
    let mut forget = tx.connection.prepare_cached(FORGET)?;
    let hashes: Vec<Vec<u8>> = forget.query_map([run], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for hash in hashes {
        tx.connection.prepare_cached(DROP)?.execute(params![owner, hash])?;
    }
    Ok(())
}
