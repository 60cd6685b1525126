//! What a user's agents remember.

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{Error, RawJson, StateKey, StateSpace, StateStore, Versioned};
use rusqlite::{OptionalExtension, params};

use crate::{error::Stop, rows, store::Store, transaction::Tx};

#[async_trait]
impl StateStore for Store {
    async fn get(&self, scope: &UserScope, key: &StateKey) -> Result<Option<Versioned>, Error> {
        const GET: &str = "SELECT version, value FROM state WHERE space = ?3 AND holder = ?4 AND name = ?5
            AND owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)";
        let (scope, key, file) = (scope.clone(), key.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let (space, holder) = place(&key.space);
                let key_columns = params![scope.tenant().as_str(), scope.user().as_str(), space, holder, key.name];
                let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, String>(1)?));
                let found = connection.prepare_cached(GET)?.query_row(key_columns, read).optional()?;
                let Some((version, text)) = found else { return Ok(None) };
                let damaged = || file.corrupt(format!("state \"{}\" of {scope}", key.name), "it is not JSON");
                Ok(Some(Versioned { value: rows::json(text).ok_or_else(damaged)?, version }))
            })
            .await
    }

    async fn put(&self, scope: &UserScope, key: &StateKey, value: RawJson) -> Result<u64, Error> {
        let (scope, key) = (scope.clone(), key.clone());
        self.writer
            .call(move |tx| {
                let owner = tx.owner_or_new(&scope)?.number;
                let version = version(tx, owner, &key)?.unwrap_or(0) + 1;
                write(tx, owner, &key, &value, version)?;
                Ok(version)
            })
            .await
    }

    async fn compare_and_set(
        &self,
        scope: &UserScope,
        key: &StateKey,
        expected: Option<u64>,
        value: RawJson,
    ) -> Result<u64, Error> {
        let (scope, key) = (scope.clone(), key.clone());
        self.writer
            .call(move |tx| {
                let owner = tx.owner_or_new(&scope)?.number;
                let found = version(tx, owner, &key)?;
                if found != expected {
                    return Err(Error::Conflict { key: key.name.clone(), expected, found }.into());
                }
                write(tx, owner, &key, &value, found.unwrap_or(0) + 1)?;
                Ok(found.unwrap_or(0) + 1)
            })
            .await
    }

    async fn delete(&self, scope: &UserScope, key: &StateKey) -> Result<bool, Error> {
        const DELETE: &str = "DELETE FROM state WHERE owner_no = ?1 AND space = ?2 AND holder = ?3 AND name = ?4";
        let (scope, key) = (scope.clone(), key.clone());
        self.writer
            .call(move |tx| {
                let Some(owner) = tx.owner(&scope)? else { return Ok(false) };
                let (space, holder) = place(&key.space);
                Ok(tx.connection.prepare_cached(DELETE)?.execute(params![owner.number, space, holder, key.name])? > 0)
            })
            .await
    }
}

/// The stored words of a space.
fn place(space: &StateSpace) -> (&'static str, &str) {
    match space {
        StateSpace::Run(run) => ("run", run.as_str()),
        StateSpace::Thread(thread) => ("thread", thread.as_str()),
        StateSpace::User => ("user", ""),
        StateSpace::Agent(agent) => ("agent", agent),
    }
}

fn version(tx: &Tx<'_>, owner: i64, key: &StateKey) -> rusqlite::Result<Option<u64>> {
    const VERSION: &str = "SELECT version FROM state WHERE owner_no = ?1 AND space = ?2 AND holder = ?3 AND name = ?4";
    let (space, holder) = place(&key.space);
    let key = params![owner, space, holder, key.name];
    tx.connection.prepare_cached(VERSION)?.query_row(key, |row| row.get(0)).optional()
}

fn write(tx: &Tx<'_>, owner: i64, key: &StateKey, value: &RawJson, version: u64) -> Result<(), Stop> {
    const WRITE: &str =
        "INSERT INTO state (owner_no, space, holder, name, version, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value";
    let (space, holder) = place(&key.space);
    tx.connection.prepare_cached(WRITE)?.execute(params![owner, space, holder, key.name, version, value.get()])?;
    Ok(())
}
