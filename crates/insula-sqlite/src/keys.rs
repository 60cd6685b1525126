//! Keys of all users. They stand under names and not under an owner's number, because they outlive the owner.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, KeyRecord, KeyStore, Page, PageRequest, pages};
use rusqlite::{Connection, Row, params};

use crate::{
    claim,
    error::{File, Stop},
    store::Store,
    transaction::Tx,
};

/// The columns of a key, in the order of [`record`].
macro_rules! key_columns {
    () => {
        "key_no, key_id, tenant_id, user_id, name, hash, grants, created_at, expires_at, last_used_at, revoked_at"
    };
}

#[async_trait]
impl KeyStore for Store {
    async fn add_key(&self, key: KeyRecord) -> Result<(), Error> {
        self.writer.call(move |tx| add(tx, &key)).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        let (id, file) = (id.to_owned(), self.file.clone());
        self.readers.read(move |connection| one(connection, &id, &file)).await
    }

    async fn keys(&self, owner: Option<&UserScope>, page: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let (owner, file) = (owner.cloned(), self.file.clone());
        let read = move |connection: &Connection| list(connection, owner.as_ref(), before, limit + 1, &file);
        Ok(pages::cut(self.readers.read(read).await?, limit))
    }

    async fn key_used(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        const USED: &str = "UPDATE keys SET last_used_at = ?2
            WHERE key_id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)";
        let id = id.to_owned();
        self.writer
            .call(move |tx| {
                tx.connection.prepare_cached(USED)?.execute(params![id, at.as_micros()])?;
                Ok(())
            })
            .await
    }

    async fn revoke_key(&self, owner: Option<&UserScope>, id: &str, at: Timestamp) -> Result<Option<KeyRecord>, Error> {
        let (owner, id) = (owner.cloned(), id.to_owned());
        self.writer.call(move |tx| revoke(tx, owner.as_ref(), &id, at)).await
    }
}

fn add(tx: &Tx<'_>, key: &KeyRecord) -> Result<(), Stop> {
    const ADD: &str = "INSERT INTO keys
        (key_id, tenant_id, user_id, name, hash, grants, created_at, expires_at, last_used_at, revoked_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (key_id) DO NOTHING";
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
    let grants = serde_json::to_string(&key.grants).map_err(|error| tx.file.corrupt("a key", error.to_string()))?;
    let added = tx.connection.prepare_cached(ADD)?.execute(params![
        key.id,
        key.scope.tenant().as_str(),
        key.scope.user().as_str(),
        key.name,
        key.hash,
        grants,
        key.created_at.as_micros(),
        micros(key.expires_at),
        micros(key.last_used_at),
        micros(key.revoked_at),
    ])?;
    if added == 0 {
        return Err(Error::KeyExists { key: key.id.clone() }.into());
    }
    Ok(())
}

fn one(connection: &Connection, id: &str, file: &File) -> Result<Option<KeyRecord>, Stop> {
    const ONE: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_id = ?1");
    let mut select = connection.prepare_cached(ONE)?;
    let mut rows = select.query([id])?;
    rows.next()?.map(|row| record(row, file)).transpose()
}

/// Keys with a number below `before`, youngest first.
fn list(
    connection: &Connection,
    owner: Option<&UserScope>,
    before: i64,
    most: usize,
    file: &File,
) -> Result<Vec<(i64, KeyRecord)>, Stop> {
    const ALL: &str = concat!("SELECT ", key_columns!(), " FROM keys WHERE key_no < ?1 ORDER BY key_no DESC LIMIT ?2");
    const OF_USER: &str = concat!(
        "SELECT ",
        key_columns!(),
        " FROM keys WHERE key_no < ?1 AND tenant_id = ?3 AND user_id = ?4 ORDER BY key_no DESC LIMIT ?2"
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut select = connection.prepare_cached(owner.map_or(ALL, |_| OF_USER))?;
    let mut rows = match owner {
        None => select.query([before, most])?,
        Some(owner) => select.query(params![before, most, owner.tenant().as_str(), owner.user().as_str()])?,
    };
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, record(row, file)?));
    }
    Ok(found)
}

/// The first time counts.
fn revoke(tx: &Tx<'_>, owner: Option<&UserScope>, id: &str, at: Timestamp) -> Result<Option<KeyRecord>, Stop> {
    const REVOKE: &str = "UPDATE keys SET revoked_at = ?2 WHERE key_id = ?1 AND revoked_at IS NULL";
    let found = one(tx.connection, id, tx.file)?;
    let Some(mut key) = found.filter(|key| owner.is_none_or(|owner| *owner == key.scope)) else { return Ok(None) };
    if key.revoked_at.is_none() {
        tx.connection.prepare_cached(REVOKE)?.execute(params![id, at.as_micros()])?;
        key.revoked_at = Some(at);
    }
    Ok(Some(key))
}

fn record(row: &Row<'_>, file: &File) -> Result<KeyRecord, Stop> {
    let id: String = row.get(1)?;
    let grants: String = row.get(6)?;
    let damaged = |_| file.corrupt(format!("key {id}"), "what it grants is not a list");
    let at = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros));
    Ok(KeyRecord {
        scope: claim::scope(&row.get::<_, String>(2)?, &row.get::<_, String>(3)?, file)?,
        name: row.get(4)?,
        hash: row.get(5)?,
        grants: serde_json::from_str(&grants).map_err(damaged)?,
        created_at: Timestamp::from_micros(row.get(7)?),
        expires_at: at(8)?,
        last_used_at: at(9)?,
        revoked_at: at(10)?,
        id,
    })
}
