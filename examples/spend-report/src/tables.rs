//! The tables in the owner's own database, and how a load gets there.

use insula_agent::{Database, Result, Transaction};
use insula_context::SqlValue;

use crate::{Price, Record};

/// So many loads of a user are kept; the oldest make room.
const KEPT: i64 = 20;
/// So many rows are handed over at once.
const CHUNK: usize = 5_000;

const TABLES: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS spend_loads (
        load_id TEXT NOT NULL PRIMARY KEY, loaded_at BIGINT NOT NULL, title TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS spend_records (
        load_id TEXT NOT NULL, line BIGINT NOT NULL, at TEXT NOT NULL, day TEXT NOT NULL, seconds BIGINT NOT NULL,
        team TEXT NOT NULL, model TEXT NOT NULL, input_tokens BIGINT NOT NULL, output_tokens BIGINT NOT NULL,
        cached_tokens BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL, latency_ms BIGINT, prompt_hash TEXT,
        PRIMARY KEY (load_id, line))",
    "CREATE TABLE IF NOT EXISTS spend_prices (
        load_id TEXT NOT NULL, model TEXT NOT NULL, input DOUBLE PRECISION NOT NULL,
        cached_input DOUBLE PRECISION NOT NULL, output DOUBLE PRECISION NOT NULL, smaller TEXT,
        PRIMARY KEY (load_id, model))",
];

const INSERT_RECORD: &str = "INSERT INTO spend_records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const INSERT_PRICE: &str = "INSERT INTO spend_prices VALUES (?, ?, ?, ?, ?, ?)";
const INSERT_LOAD: &str = "INSERT INTO spend_loads VALUES (?, ?, ?)";

const FORGET: [&str; 3] = [
    "DELETE FROM spend_records WHERE load_id = ?",
    "DELETE FROM spend_prices WHERE load_id = ?",
    "DELETE FROM spend_loads WHERE load_id = ?",
];

const MAKE_ROOM: [&str; 3] = [
    "DELETE FROM spend_loads WHERE load_id NOT IN (
        SELECT load_id FROM spend_loads ORDER BY loaded_at DESC, load_id LIMIT ?)",
    "DELETE FROM spend_records WHERE load_id NOT IN (SELECT load_id FROM spend_loads)",
    "DELETE FROM spend_prices WHERE load_id NOT IN (SELECT load_id FROM spend_loads)",
];

/// What is loaded, and under which name.
pub(crate) struct Load<'a> {
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    /// In microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) records: &'a [Record],
    pub(crate) prices: &'a [Price],
}

/// Stores a load in one transaction: all of it is there, or nothing. Done again, it replaces itself.
pub(crate) async fn store(database: &dyn Database, load: &Load<'_>) -> Result<u64> {
    let mut tx = database.begin().await?;
    for table in TABLES {
        tx.execute(table, &[]).await?;
    }
    for forget in FORGET {
        tx.execute(forget, &[load.id.into()]).await?;
    }
    tx.execute(INSERT_LOAD, &[load.id.into(), load.at.into(), load.title.into()]).await?;
    let prices: Vec<_> = load.prices.iter().map(|price| price_row(load.id, price)).collect();
    tx.execute_many(INSERT_PRICE, &prices).await?;
    let mut rows = 0;
    for chunk in load.records.chunks(CHUNK) {
        let chunk: Vec<_> = chunk.iter().map(|record| record_row(load.id, record)).collect();
        rows += tx.execute_many(INSERT_RECORD, &chunk).await?;
    }
    make_room(&mut *tx).await?;
    tx.commit().await?;
    Ok(rows)
}

async fn make_room(tx: &mut dyn Transaction) -> Result<()> {
    let [oldest, rest @ ..] = MAKE_ROOM;
    if tx.execute(oldest, &[KEPT.into()]).await? > 0 {
        for sql in rest {
            tx.execute(sql, &[]).await?;
        }
    }
    Ok(())
}

fn record_row(load: &str, record: &Record) -> Vec<SqlValue> {
    let at = record.at;
    let day = at.date();
    vec![
        load.into(),
        i64::try_from(record.line).unwrap_or(i64::MAX).into(),
        format!("{day} {:02}:{:02}:{:02}", at.hour(), at.minute(), at.second()).into(),
        day.to_string().into(),
        at.unix_timestamp().into(),
        record.team.as_str().into(),
        record.model.as_str().into(),
        record.input_tokens.into(),
        record.output_tokens.into(),
        record.cached_tokens.into(),
        record.cost.into(),
        record.latency_ms.into(),
        record.prompt_hash.clone().into(),
    ]
}

fn price_row(load: &str, price: &Price) -> Vec<SqlValue> {
    let Price { model, input, cached_input, output, smaller } = price.clone();
    vec![load.into(), model.into(), input.into(), cached_input.into(), output.into(), smaller.into()]
}
