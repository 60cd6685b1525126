//! Accounts as they are stored: a row for each owner who has one.

use std::collections::BTreeMap;

use insula_context::Timestamp;
use insula_infra::Amounts;
use sqlx::{Row, postgres::PgRow};

use crate::{error::Worked, transaction::Tx};

/// How an account is stored. What was spent in a window that has ended counts for nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Account {
    /// When its window ends, and how long the next one is.
    pub(crate) ends_at: i64,
    pub(crate) span: i64,
    pub(crate) spent: Amounts,
    pub(crate) reserved: Amounts,
}

impl Account {
    /// Locks those of these owners that are there, in the order of their numbers.
    pub(crate) async fn lock(tx: &mut Tx, owners: &[i64]) -> Worked<BTreeMap<i64, Self>> {
        const LOCK: &str = "SELECT owner_no, ends_at, span, spent, reserved FROM insula.accounts
            WHERE owner_no = ANY($1) ORDER BY owner_no FOR UPDATE";
        let rows = sqlx::query(LOCK).bind(owners).fetch_all(tx.on()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, Self::read(tx, row)?))).collect()
    }

    /// Opens those that are not there, in the order of their owners' numbers, and says which: nobody else sees them before
    /// this transaction ends.
    pub(crate) async fn open(tx: &mut Tx, owners: &[i64]) -> sqlx::Result<Vec<i64>> {
        const OPEN: &str = "INSERT INTO insula.accounts (owner_no, ends_at, span, spent, reserved)
            SELECT n.owner_no, 0, 0, '{}', '{}' FROM unnest($1::bigint[]) AS n(owner_no) ORDER BY n.owner_no
            ON CONFLICT (owner_no) DO NOTHING RETURNING owner_no";
        sqlx::query_scalar(OPEN).bind(owners).fetch_all(tx.on()).await
    }

    /// A reservation that came to nothing opens no account.
    pub(crate) async fn close(tx: &mut Tx, opened: &[i64]) -> sqlx::Result<()> {
        const CLOSE: &str = "DELETE FROM insula.accounts WHERE owner_no = ANY($1)";
        if opened.is_empty() {
            return Ok(());
        }
        sqlx::query(CLOSE).bind(opened).execute(tx.on()).await.map(|_| ())
    }

    pub(crate) fn read(tx: &Tx, row: &PgRow) -> Worked<Self> {
        Ok(Self {
            ends_at: row.try_get(1)?,
            span: row.try_get(2)?,
            spent: amounts(tx, row, 3)?,
            reserved: amounts(tx, row, 4)?,
        })
    }

    pub(crate) async fn keep(tx: &mut Tx, changed: impl Iterator<Item = (i64, &Self)>) -> Worked<()> {
        const KEEP: &str = "UPDATE insula.accounts a
            SET ends_at = k.ends_at, span = k.span, spent = k.spent, reserved = k.reserved
            FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
            AS k(owner_no, ends_at, span, spent, reserved) WHERE a.owner_no = k.owner_no";
        let (mut owners, mut ends, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        let (mut spent, mut reserved) = (Vec::new(), Vec::new());
        for (owner, account) in changed {
            owners.push(owner);
            ends.push(account.ends_at);
            spans.push(account.span);
            spent.push(text(&account.spent)?);
            reserved.push(text(&account.reserved)?);
        }
        if owners.is_empty() {
            return Ok(());
        }
        let keep = sqlx::query(KEEP).bind(owners).bind(ends).bind(spans).bind(spent).bind(reserved);
        keep.execute(tx.on()).await?;
        Ok(())
    }

    /// Begins the next window if this one has ended. What is reserved goes on.
    pub(crate) fn renew(&mut self, span: i64, now: Timestamp) {
        if self.ends_at <= now.as_micros() {
            let ends_at = now.as_micros().saturating_add(span);
            *self = Self { ends_at, span, spent: Amounts::default(), ..*self };
        }
    }
}

pub(crate) fn text(amounts: &Amounts) -> sqlx::Result<String> {
    serde_json::to_string(amounts).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

pub(crate) fn amounts(tx: &Tx, row: &PgRow, column: usize) -> Worked<Amounts> {
    let text: String = row.try_get(column)?;
    let damaged = |error: serde_json::Error| tx.server.corrupt("amounts of an account", error.to_string());
    Ok(serde_json::from_str(&text).map_err(damaged)?)
}
