//! Audit logs. A lock per owner chains them: nobody comes between reading the last hash and writing the next. The role that
//! writes here may change nothing that is written.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{AuditLog, AuditRecord, Error, NewAuditEntry};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{self, Worked},
    owners, rows,
    store::Store,
    stored::most,
    transaction::{Kind, Tx},
};

#[async_trait]
impl AuditLog for Store {
    async fn add_audit(&self, scope: &UserScope, entry: NewAuditEntry) -> Result<AuditRecord, Error> {
        // The hash is over what is stored.
        let entry = NewAuditEntry { action: error::text(&entry.action).into_owned(), ..entry };
        let with = (scope.clone(), entry);
        self.write("write to the audit log", scope, with, |tx, (scope, entry)| Box::pin(add(tx, scope, entry))).await
    }

    async fn audit(&self, scope: &UserScope, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Error> {
        let with = (scope.clone(), after, limit);
        let found = self.read("read the audit log", scope, with, |tx, (scope, after, limit)| {
            Box::pin(entries(tx, scope, *after, *limit))
        });
        Ok(found.await?.unwrap_or_default())
    }

    async fn audited(&self, after: Option<&UserScope>, limit: usize) -> Result<Vec<UserScope>, Error> {
        let with = (after.cloned(), limit);
        self.across("list audit logs", Kind::Read, with, |tx, (after, limit)| {
            Box::pin(logs(tx, after.as_ref(), *limit))
        })
        .await
    }
}

async fn add(tx: &mut Tx, scope: &UserScope, entry: &NewAuditEntry) -> Worked<AuditRecord> {
    /// Locks by two numbers never meet those by one; owners who share the second only wait for one another.
    const LOCK: &str = "SELECT pg_advisory_xact_lock(1702127977, ($1 % 2147483647)::integer)";
    const LAST: &str = "SELECT number, hash FROM insula.audit WHERE owner_no = $1 ORDER BY number DESC LIMIT 1";
    const ADD: &str = "INSERT INTO insula.audit (owner_no, number, at, action, detail, hash)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let owner = tx.owner;
    sqlx::query(LOCK).bind(owner).execute(tx.on()).await?;
    let last: Option<(i64, String)> = sqlx::query_as(LAST).bind(owner).fetch_optional(tx.on()).await?;
    let (number, before) = last.map_or((1, String::new()), |(number, hash)| (number + 1, hash));
    let hash = AuditRecord::chained(&before, scope, number.unsigned_abs(), entry);
    let NewAuditEntry { at, action, detail } = entry.clone();
    let add = sqlx::query(ADD).bind(owner).bind(number).bind(at.as_micros()).bind(&action);
    add.bind(detail.get()).bind(&hash).execute(tx.on()).await?;
    Ok(AuditRecord { number: number.unsigned_abs(), at, action, detail, hash })
}

async fn entries(tx: &mut Tx, scope: &UserScope, after: u64, limit: usize) -> Worked<Vec<AuditRecord>> {
    const ENTRIES: &str = "SELECT number, at, action, detail, hash FROM insula.audit
        WHERE owner_no = $1 AND number > $2 ORDER BY number LIMIT $3";
    let (owner, after) = (tx.owner, i64::try_from(after).unwrap_or(i64::MAX));
    let rows = sqlx::query(ENTRIES).bind(owner).bind(after).bind(most(limit)).fetch_all(tx.on()).await?;
    rows.iter().map(|row| record(tx, row, scope)).collect()
}

fn record(tx: &Tx, row: &PgRow, scope: &UserScope) -> Worked<AuditRecord> {
    let number: i64 = row.try_get(0)?;
    let damaged = || tx.server.corrupt(format!("entry {number} of the audit log of {scope}"), "its detail is not JSON");
    Ok(AuditRecord {
        number: number.unsigned_abs(),
        at: Timestamp::from_micros(row.try_get(1)?),
        action: row.try_get(2)?,
        detail: rows::json(row.try_get(3)?).ok_or_else(damaged)?,
        hash: row.try_get(4)?,
    })
}

async fn logs(tx: &mut Tx, after: Option<&UserScope>, limit: usize) -> Worked<Vec<UserScope>> {
    const LOGS: &str = "SELECT tenant_id, user_id FROM insula.audited($1, $2, $3)";
    let (tenant, user) = after.map_or(("", ""), |scope| (scope.tenant().as_str(), scope.user().as_str()));
    let rows = sqlx::query(LOGS).bind(tenant).bind(user).bind(most(limit)).fetch_all(tx.on()).await?;
    let read = |row: &PgRow| Ok(owners::read_back(row.try_get(0)?, row.try_get(1)?, &tx.server)?);
    rows.iter().map(read).collect()
}
