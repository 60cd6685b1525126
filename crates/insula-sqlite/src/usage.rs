//! What was used: one row per owner, day and agent, changed by the append that uses something.
//!
//! The rows of a day lie together, so a commit of many owners touches few pages. A question goes from day to day.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, RunStatus, Spent, UsageRow, UsageStore};
use rusqlite::{Connection, OptionalExtension, Row, Statement, params, types::Type};

use crate::{store::Store, transaction::Tx};

#[async_trait]
impl UsageStore for Store {
    async fn usage(&self, scope: &UserScope, from: i64, to: i64) -> Result<Vec<UsageRow>, Error> {
        let scope = scope.clone();
        self.readers.read(move |connection| Ok(of(connection, &scope, from, to)?)).await
    }
}

/// Rows that are remembered. Beyond it they are read again.
const ROWS: usize = 10_000;

/// Day, owner and agent.
type Key = (i64, i64, Arc<str>);

/// What the writer knows of usage. A row is read once, and written once in a transaction however many runs end in it.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    rows: HashMap<Key, Sum>,
    /// Those that are not written yet, each once.
    changed: Vec<Key>,
}

#[derive(Debug)]
struct Sum {
    row: UsageRow,
    is_changed: bool,
}

impl Sums {
    /// Forgets what may not be as the file has it.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.changed.clear();
    }

    fn forget(&mut self, owner: i64) {
        self.rows.retain(|(_, of, _), _| *of != owner);
        self.changed.retain(|(_, of, _)| *of != owner);
    }
}

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) status: RunStatus,
    pub(crate) micros: u64,
}

/// Counts what an append has used. It is written with the transaction.
pub(crate) fn count(
    tx: &mut Tx<'_>,
    (owner, agent): (i64, &Arc<str>),
    at: Timestamp,
    spent: &[Spent],
    ended: Option<Ended>,
) -> rusqlite::Result<()> {
    let key = (UsageRow::day_of(at), owner, Arc::clone(agent));
    let Sums { rows, changed } = &mut tx.memory.usage;
    let sum = match rows.entry(key) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(unknown) => {
            let row = find(tx.connection, unknown.key())?;
            unknown.insert(Sum { row, is_changed: false })
        }
    };
    spent.iter().for_each(|spent| sum.row.add_spent(&spent.amounts));
    ended.into_iter().for_each(|Ended { status, micros }| sum.row.add_end(status, micros));
    if !std::mem::replace(&mut sum.is_changed, true) {
        changed.push((sum.row.day, owner, Arc::clone(agent)));
    }
    Ok(())
}

/// What the file says; nothing if it does not say anything yet.
fn find(connection: &Connection, (day, owner, agent): &Key) -> rusqlite::Result<UsageRow> {
    const FIND: &str = "SELECT completed, failed, cancelled, tokens, money, run_micros, took FROM usage
        WHERE day = ?1 AND owner_no = ?2 AND agent = ?3";
    let mut find = connection.prepare_cached(FIND)?;
    let found = find.query_row(params![day, owner, agent], |row| read(row, 0, *day, agent)).optional()?;
    Ok(found.unwrap_or_else(|| UsageRow::new(*day, agent)))
}

/// Writes what was counted since the transaction began.
pub(crate) fn write(tx: &mut Tx<'_>) -> rusqlite::Result<()> {
    let Sums { rows, changed } = &mut tx.memory.usage;
    if changed.is_empty() {
        return Ok(());
    }
    let mut keep = tx.connection.prepare_cached(KEEP)?;
    for key in changed.drain(..) {
        if let Some(sum) = rows.get_mut(&key) {
            write_row(&mut keep, key.1, &sum.row)?;
            sum.is_changed = false;
        }
    }
    if rows.len() > ROWS {
        rows.clear();
    }
    Ok(())
}

const KEEP: &str = "INSERT INTO usage
    (day, owner_no, agent, completed, failed, cancelled, tokens, money, run_micros, took)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
    ON CONFLICT DO UPDATE SET completed = excluded.completed, failed = excluded.failed, cancelled = excluded.cancelled,
    tokens = excluded.tokens, money = excluded.money, run_micros = excluded.run_micros, took = excluded.took";

fn write_row(keep: &mut Statement<'_>, owner: i64, row: &UsageRow) -> rusqlite::Result<()> {
    let used = row.took.iter().rposition(|runs| *runs > 0).map_or(0, |last| last + 1);
    let took = serde_json::to_string(&row.took[..used])
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let UsageRow { day, agent, completed, failed, cancelled, .. } = row;
    let (tokens, money, micros) = (whole(row.tokens), whole(row.money), whole(row.run_micros));
    let values = params![day, owner, agent, completed, failed, cancelled, tokens, money, micros, took];
    keep.execute(values).map(|_| ())
}

/// The largest number that is stored stands for all beyond it.
fn whole(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// A row from this column on.
fn read(row: &Row<'_>, first: usize, day: i64, agent: &str) -> rusqlite::Result<UsageRow> {
    let text: String = row.get(first + 6)?;
    let damaged = |error| rusqlite::Error::FromSqlConversionFailure(first + 6, Type::Text, Box::new(error));
    let mut took: Vec<u64> = serde_json::from_str(&text).map_err(damaged)?;
    took.resize(UsageRow::BUCKETS, 0);
    Ok(UsageRow {
        completed: row.get(first)?,
        failed: row.get(first + 1)?,
        cancelled: row.get(first + 2)?,
        tokens: row.get(first + 3)?,
        money: row.get(first + 4)?,
        run_micros: row.get(first + 5)?,
        took,
        ..UsageRow::new(day, agent)
    })
}

fn of(connection: &Connection, scope: &UserScope, from: i64, to: i64) -> rusqlite::Result<Vec<UsageRow>> {
    const OWNER: &str = "SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2";
    const OF_DAY: &str = "SELECT agent, completed, failed, cancelled, tokens, money, run_micros, took FROM usage
        WHERE day = ?1 AND owner_no = ?2 ORDER BY agent";
    let names = (scope.tenant().as_str(), scope.user().as_str());
    let owner = connection.prepare_cached(OWNER)?.query_row(names, |row| row.get::<_, i64>(0)).optional()?;
    let Some(owner) = owner else { return Ok(Vec::new()) };
    let mut of_day = connection.prepare_cached(OF_DAY)?;
    let mut found = Vec::new();
    for day in days(connection, from, to)? {
        let mut rows = of_day.query([day, owner])?;
        while let Some(row) = rows.next()? {
            found.push(read(row, 1, day, &row.get::<_, String>(0)?)?);
        }
    }
    Ok(found)
}

/// The days on which anybody has used anything.
fn days(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<Vec<i64>> {
    const NEXT: &str = "SELECT min(day) FROM usage WHERE day >= ?1";
    let mut select = connection.prepare_cached(NEXT)?;
    let (mut days, mut next) = (Vec::new(), Some(from));
    while let Some(from) = next {
        let day: Option<i64> = select.query_row([from], |row| row.get(0))?;
        days.extend(day.filter(|day| *day <= to));
        next = day.filter(|day| *day < to).map(|day| day + 1);
    }
    Ok(days)
}

/// Forgets what an owner has used.
pub(crate) fn forget(tx: &mut Tx<'_>, owner: i64) -> rusqlite::Result<()> {
    const FORGET: &str = "DELETE FROM usage WHERE day = ?1 AND owner_no = ?2";
    tx.memory.usage.forget(owner);
    let mut forget = tx.connection.prepare_cached(FORGET)?;
    for day in days(tx.connection, i64::MIN, i64::MAX)? {
        forget.execute([day, owner])?;
    }
    Ok(())
}
