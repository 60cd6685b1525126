//! Audit logs. The one writer chains them: nobody comes between reading the last hash and writing the next.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{AuditLog, AuditRecord, Error, NewAuditEntry};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    claim,
    error::{File, Stop},
    rows,
    store::Store,
    transaction::Tx,
};

#[async_trait]
impl AuditLog for Store {
    async fn add_audit(&self, scope: &UserScope, entry: NewAuditEntry) -> Result<AuditRecord, Error> {
        let scope = scope.clone();
        self.writer.call(move |tx| Ok(add(tx, &scope, &entry)?)).await
    }

    async fn audit(&self, scope: &UserScope, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Error> {
        let (scope, file) = (scope.clone(), self.file.clone());
        self.readers.read(move |connection| entries(connection, &scope, after, limit, &file)).await
    }

    async fn audited(&self, after: Option<&UserScope>, limit: usize) -> Result<Vec<UserScope>, Error> {
        let (after, file) = (after.cloned(), self.file.clone());
        self.readers.read(move |connection| logs(connection, after.as_ref(), limit, &file)).await
    }
}

fn add(tx: &Tx<'_>, scope: &UserScope, entry: &NewAuditEntry) -> rusqlite::Result<AuditRecord> {
    const LAST: &str = "SELECT log_no, number, hash FROM audit_logs WHERE tenant_id = ?1 AND user_id = ?2";
    const BEGIN: &str = "INSERT INTO audit_logs (tenant_id, user_id, number, hash) VALUES (?1, ?2, 0, '')";
    const ADD: &str = "INSERT INTO audit (log_no, number, at, action, detail, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    const KEEP: &str = "UPDATE audit_logs SET number = ?2, hash = ?3 WHERE log_no = ?1";
    let names = (scope.tenant().as_str(), scope.user().as_str());
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let last = tx.connection.prepare_cached(LAST)?.query_row(names, read).optional()?;
    let (log, number, before): (i64, u64, String) = match last {
        Some(last) => last,
        None => (tx.connection.prepare_cached(BEGIN)?.insert(names)?, 0, String::new()),
    };
    let number = number + 1;
    let hash = AuditRecord::chained(&before, scope, number, entry);
    let NewAuditEntry { at, action, detail } = entry.clone();
    let row = params![log, number, at.as_micros(), action, detail.get(), hash];
    tx.connection.prepare_cached(ADD)?.execute(row)?;
    tx.connection.prepare_cached(KEEP)?.execute(params![log, number, hash])?;
    Ok(AuditRecord { number, at, action, detail, hash })
}

fn entries(
    connection: &Connection,
    scope: &UserScope,
    after: u64,
    limit: usize,
    file: &File,
) -> Result<Vec<AuditRecord>, Stop> {
    const ENTRIES: &str = "SELECT number, at, action, detail, hash FROM audit
        WHERE log_no = (SELECT log_no FROM audit_logs WHERE tenant_id = ?1 AND user_id = ?2) AND number > ?3
        ORDER BY number LIMIT ?4";
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(ENTRIES)?;
    let mut rows = select.query(params![scope.tenant().as_str(), scope.user().as_str(), after, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(record(row, scope, file)?);
    }
    Ok(found)
}

fn record(row: &Row<'_>, scope: &UserScope, file: &File) -> Result<AuditRecord, Stop> {
    let number = row.get(0)?;
    let damaged = || file.corrupt(format!("entry {number} of the audit log of {scope}"), "its detail is not JSON");
    Ok(AuditRecord {
        number,
        at: Timestamp::from_micros(row.get(1)?),
        action: row.get(2)?,
        detail: rows::json(row.get(3)?).ok_or_else(damaged)?,
        hash: row.get(4)?,
    })
}

fn logs(connection: &Connection, after: Option<&UserScope>, limit: usize, file: &File) -> Result<Vec<UserScope>, Stop> {
    const LOGS: &str = "SELECT tenant_id, user_id FROM audit_logs WHERE (tenant_id, user_id) > (?1, ?2)
        ORDER BY tenant_id, user_id LIMIT ?3";
    let (tenant, user) = after.map_or(("", ""), |scope| (scope.tenant().as_str(), scope.user().as_str()));
    let mut select = connection.prepare_cached(LOGS)?;
    let mut rows = select.query(params![tenant, user, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(claim::scope(&row.get::<_, String>(0)?, &row.get::<_, String>(1)?, file)?);
    }
    Ok(found)
}
