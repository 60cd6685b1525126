//! From rows of the database to typed values.

use insula_agent::{Database, Error, Result, ToolCall, Transaction};
use insula_context::{SqlRow, SqlValue};

/// Begins to read a load, and refuses one that is not there: an analysis of nothing would look like good news.
pub(super) async fn open(call: &ToolCall, load: &str) -> Result<Box<dyn Transaction>> {
    let database: std::sync::Arc<dyn Database> = call.database()?;
    let mut tx = database.begin().await?;
    let found = tx.fetch("SELECT load_id FROM spend_loads WHERE load_id = ?", &[load.into()]).await?;
    if found.is_empty() {
        return Err(Error::failed(format!("There is no load \"{load}\": load the records first.")));
    }
    Ok(tx)
}

/// Runs one query and reads its rows.
pub(super) async fn fetch<T>(
    tx: &mut dyn Transaction,
    sql: &str,
    params: &[SqlValue],
    read: impl Fn(Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    tx.fetch(sql, params).await?.iter().map(|row| read(Row(row))).collect()
}

/// Runs one query that always has a row.
pub(super) async fn fetch_one<T>(
    tx: &mut dyn Transaction,
    sql: &str,
    params: &[SqlValue],
    read: impl Fn(Row<'_>) -> Result<T>,
) -> Result<T> {
    let first = fetch(tx, sql, params, read).await?.into_iter().next();
    first.ok_or_else(|| shape("a row"))
}

/// One row; a column that is not there or has another type is an error and no zero.
#[derive(Clone, Copy)]
pub(super) struct Row<'a>(&'a SqlRow);

impl Row<'_> {
    pub(super) fn text(&self, column: &str) -> Result<String> {
        self.0.text(column).map(str::to_owned).ok_or_else(|| shape(column))
    }

    pub(super) fn whole(&self, column: &str) -> Result<i64> {
        self.0.integer(column).ok_or_else(|| shape(column))
    }

    pub(super) fn real(&self, column: &str) -> Result<f64> {
        self.0.real(column).ok_or_else(|| shape(column))
    }

    /// An amount in USD, to a millionth: what is beyond is noise of the arithmetic.
    pub(super) fn money(&self, column: &str) -> Result<f64> {
        self.real(column).map(|amount| (amount * 1e6).round() / 1e6)
    }
}

fn shape(what: &str) -> Error {
    Error::Shape { what: "the answer of the database".to_owned(), problem: format!("{what} is missing") }
}
