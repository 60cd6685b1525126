//! What a user's agents remember.

use async_trait::async_trait;
use insula_context::UserScope;
use insula_infra::{Error, RawJson, StateKey, StateSpace, StateStore, Versioned};

use crate::{error::Worked, rows, store::Store, transaction::Tx};

#[async_trait]
impl StateStore for Store {
    async fn get(&self, scope: &UserScope, key: &StateKey) -> Result<Option<Versioned>, Error> {
        let with = (scope.clone(), key.clone());
        let found = self.read("read state", scope, with, |tx, (scope, key)| Box::pin(one(tx, scope, key))).await?;
        Ok(found.flatten())
    }

    async fn put(&self, scope: &UserScope, key: &StateKey, value: RawJson) -> Result<u64, Error> {
        let with = (key.clone(), value);
        self.write("write state", scope, with, |tx, (key, value)| Box::pin(put(tx, key, value))).await
    }

    async fn compare_and_set(
        &self,
        scope: &UserScope,
        key: &StateKey,
        expected: Option<u64>,
        value: RawJson,
    ) -> Result<u64, Error> {
        let with = (key.clone(), expected, value);
        self.write("write state", scope, with, |tx, (key, expected, value)| {
            Box::pin(compare_and_set(tx, key, *expected, value))
        })
        .await
    }

    async fn delete(&self, scope: &UserScope, key: &StateKey) -> Result<bool, Error> {
        let deleted = self.change("delete state", scope, key.clone(), |tx, key| Box::pin(delete(tx, key))).await?;
        Ok(deleted.unwrap_or(false))
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

async fn one(tx: &mut Tx, scope: &UserScope, key: &StateKey) -> Worked<Option<Versioned>> {
    const ONE: &str = "SELECT version, value FROM insula.state
        WHERE owner_no = $1 AND space = $2 AND holder = $3 AND name = $4";
    let (owner, (space, holder)) = (tx.owner, place(&key.space));
    let query = sqlx::query_as(ONE).bind(owner).bind(space).bind(holder).bind(&key.name);
    let found: Option<(i64, String)> = query.fetch_optional(tx.on()).await?;
    let Some((version, text)) = found else { return Ok(None) };
    match rows::json(text) {
        Some(value) => Ok(Some(Versioned { value, version: number(version) })),
        None => tx.corrupt(&format!("state \"{}\"", key.name), scope),
    }
}

async fn put(tx: &mut Tx, key: &StateKey, value: &RawJson) -> Worked<u64> {
    const PUT: &str = "INSERT INTO insula.state AS s (owner_no, space, holder, name, version, value)
        VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT (owner_no, space, holder, name)
        DO UPDATE SET version = s.version + 1, value = excluded.value RETURNING version";
    let (owner, (space, holder)) = (tx.owner, place(&key.space));
    let query = sqlx::query_scalar(PUT).bind(owner).bind(space).bind(holder).bind(&key.name).bind(value.get());
    Ok(number(query.fetch_one(tx.on()).await?))
}

async fn compare_and_set(tx: &mut Tx, key: &StateKey, expected: Option<u64>, value: &RawJson) -> Worked<u64> {
    loop {
        let written = match expected {
            None => insert(tx, key, value).await?,
            Some(expected) => replace(tx, key, expected, value).await?,
        };
        if let Some(version) = written {
            return Ok(version);
        }
        let found = version(tx, key).await?;
        // What stood in the way may be gone again by now.
        if found != expected {
            return Err(Error::Conflict { key: key.name.clone(), expected, found }.into());
        }
    }
}

async fn insert(tx: &mut Tx, key: &StateKey, value: &RawJson) -> sqlx::Result<Option<u64>> {
    const INSERT: &str = "INSERT INTO insula.state (owner_no, space, holder, name, version, value)
        VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT DO NOTHING RETURNING version";
    let (owner, (space, holder)) = (tx.owner, place(&key.space));
    let query = sqlx::query_scalar(INSERT).bind(owner).bind(space).bind(holder).bind(&key.name).bind(value.get());
    Ok(query.fetch_optional(tx.on()).await?.map(number))
}

async fn replace(tx: &mut Tx, key: &StateKey, expected: u64, value: &RawJson) -> sqlx::Result<Option<u64>> {
    const REPLACE: &str = "UPDATE insula.state SET version = version + 1, value = $6
        WHERE owner_no = $1 AND space = $2 AND holder = $3 AND name = $4 AND version = $5 RETURNING version";
    // A version that cannot be stored is nobody's.
    let Ok(expected) = i64::try_from(expected) else { return Ok(None) };
    let (owner, (space, holder)) = (tx.owner, place(&key.space));
    let query = sqlx::query_scalar(REPLACE).bind(owner).bind(space).bind(holder).bind(&key.name);
    Ok(query.bind(expected).bind(value.get()).fetch_optional(tx.on()).await?.map(number))
}

async fn version(tx: &mut Tx, key: &StateKey) -> sqlx::Result<Option<u64>> {
    const VERSION: &str = "SELECT version FROM insula.state
        WHERE owner_no = $1 AND space = $2 AND holder = $3 AND name = $4";
    let (owner, (space, holder)) = (tx.owner, place(&key.space));
    let query = sqlx::query_scalar(VERSION).bind(owner).bind(space).bind(holder).bind(&key.name);
    Ok(query.fetch_optional(tx.on()).await?.map(number))
}

async fn delete(tx: &mut Tx, key: &StateKey) -> Worked<bool> {
    const DELETE: &str = "DELETE FROM insula.state
        WHERE owner_no = $1 AND space = $2 AND holder = $3 AND name = $4";
    let (owner, (space, holder)) = (tx.owner, place(&key.space));
    let delete = sqlx::query(DELETE).bind(owner).bind(space).bind(holder).bind(&key.name);
    Ok(delete.execute(tx.on()).await?.rows_affected() > 0)
}

fn number(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}
