//! Keys of all users. They hang on an owner's number, which outlives what the owner has here.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, KeyRecord, KeyStore, Page, PageRequest, pages};
use sqlx::{Row, postgres::PgRow};

use crate::{
    error::{self, Server, Worked},
    owners,
    store::Store,
    stored::{self, most},
    transaction::{Kind, Tx},
};

/// The columns of a key, in the order of [`record`].
macro_rules! key_columns {
    () => {
        "k.key_no, k.key_id, o.tenant_id, o.user_id, k.name, k.hash, k.grants, k.created_at, k.expires_at, \
         k.last_used_at, k.revoked_at"
    };
}

#[async_trait]
impl KeyStore for Store {
    async fn add_key(&self, key: KeyRecord) -> Result<(), Error> {
        let scope = key.scope.clone();
        self.write("add a key", &scope, key, |tx, key| Box::pin(add(tx, key))).await
    }

    async fn key(&self, id: &str) -> Result<Option<KeyRecord>, Error> {
        self.across("read a key", Kind::Read, id.to_owned(), |tx, id| Box::pin(one(tx, id))).await
    }

    async fn keys(&self, owner: Option<&UserScope>, page: &PageRequest) -> Result<Page<KeyRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let with = (before, limit + 1);
        let found = match owner {
            None => self.across("read keys", Kind::Read, with, |tx, with| Box::pin(all(tx, *with))).await?,
            Some(owner) => {
                let found = self.read("read keys", owner, with, |tx, with| Box::pin(of_owner(tx, *with))).await?;
                found.unwrap_or_default()
            }
        };
        let page = pages::cut(found, limit);
        Ok(Page { items: page.items.into_iter().flatten().collect(), next: page.next })
    }

    async fn key_used(&self, id: &str, at: Timestamp) -> Result<(), Error> {
        let with = (id.to_owned(), at);
        self.across("note the use of a key", Kind::Write, with, |tx, (id, at)| Box::pin(used(tx, id, *at))).await
    }

    async fn revoke_key(&self, owner: Option<&UserScope>, id: &str, at: Timestamp) -> Result<Option<KeyRecord>, Error> {
        let with = (id.to_owned(), at);
        let Some(owner) = owner else {
            let work = self.across("revoke a key", Kind::Write, with, |tx, (id, at)| Box::pin(revoke_any(tx, id, *at)));
            return work.await;
        };
        let work = self.change("revoke a key", owner, with, |tx, (id, at)| {
            let owner = tx.owner;
            Box::pin(revoke(tx, owner, id, *at))
        });
        Ok(work.await?.flatten())
    }
}

async fn add(tx: &mut Tx, key: &KeyRecord) -> Worked<()> {
    const ADD: &str = "INSERT INTO insula.keys
        (owner_no, key_id, name, hash, grants, created_at, expires_at, last_used_at, revoked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key_id) DO NOTHING";
    let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
    let grants = serde_json::to_string(&key.grants).map_err(|error| tx.server.corrupt("a key", error.to_string()))?;
    let owner = tx.owner;
    let add = sqlx::query(ADD).bind(owner).bind(&key.id).bind(error::text(&key.name)).bind(&key.hash[..]).bind(grants);
    let add = add.bind(key.created_at.as_micros()).bind(micros(key.expires_at));
    let added = add.bind(micros(key.last_used_at)).bind(micros(key.revoked_at)).execute(tx.on()).await?;
    if added.rows_affected() == 0 {
        return Err(Error::KeyExists { key: key.id.clone() }.into());
    }
    Ok(())
}

/// Enters the owner of a key, who is whoever shows it.
async fn enter_owner(tx: &mut Tx, id: &str) -> sqlx::Result<Option<i64>> {
    const OWNER: &str = "SELECT insula.owner_of_key($1)";
    let owner: Option<i64> = sqlx::query_scalar(OWNER).bind(id).fetch_one(tx.on()).await?;
    if let Some(owner) = owner {
        tx.enter(&[owner]).await?;
    }
    Ok(owner)
}

async fn one(tx: &mut Tx, id: &str) -> Worked<Option<KeyRecord>> {
    const ONE: &str = concat!(
        "SELECT ",
        key_columns!(),
        " FROM insula.keys k JOIN insula.owners o ON o.owner_no = k.owner_no WHERE k.owner_no = $1 AND k.key_id = $2"
    );
    let Some(owner) = enter_owner(tx, id).await? else { return Ok(None) };
    let row = sqlx::query(ONE).bind(owner).bind(id).fetch_optional(tx.on()).await?;
    row.map(|row| record(&row, &tx.server)).transpose()
}

/// Numbered, youngest first; where one cannot be read there is its number only, so that the page does not seem to end there.
type Numbered = Vec<(i64, Option<KeyRecord>)>;

/// Keys of everybody with a number below `before`.
async fn all(tx: &mut Tx, (before, max): (i64, usize)) -> Worked<Numbered> {
    const OWNERS: &str = "SELECT insula.owners_with_keys($1, $2)";
    const ALL: &str = concat!(
        "SELECT ",
        key_columns!(),
        " FROM insula.keys k JOIN insula.owners o ON o.owner_no = k.owner_no
          WHERE k.owner_no = ANY($1) AND k.key_no < $2 ORDER BY k.key_no DESC LIMIT $3"
    );
    let max = most(max);
    let owners: Vec<i64> = sqlx::query_scalar(OWNERS).bind(before).bind(max).fetch_one(tx.on()).await?;
    tx.enter(&owners).await?;
    let rows = sqlx::query(ALL).bind(owners).bind(before).bind(max).fetch_all(tx.on()).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, stored::readable(record(row, &tx.server))?))).collect()
}

/// Keys of one owner with a number below `before`.
async fn of_owner(tx: &mut Tx, (before, max): (i64, usize)) -> Worked<Numbered> {
    const OF_OWNER: &str = concat!(
        "SELECT ",
        key_columns!(),
        " FROM insula.keys k JOIN insula.owners o ON o.owner_no = k.owner_no
          WHERE k.owner_no = $1 AND k.key_no < $2 ORDER BY k.key_no DESC LIMIT $3"
    );
    let owner = tx.owner;
    let rows = sqlx::query(OF_OWNER).bind(owner).bind(before).bind(most(max)).fetch_all(tx.on()).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, Some(record(row, &tx.server)?)))).collect()
}

async fn used(tx: &mut Tx, id: &str, at: Timestamp) -> Worked<()> {
    const USED: &str = "UPDATE insula.keys SET last_used_at = $3
        WHERE owner_no = $1 AND key_id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";
    let Some(owner) = enter_owner(tx, id).await? else { return Ok(()) };
    sqlx::query(USED).bind(owner).bind(id).bind(at.as_micros()).execute(tx.on()).await?;
    Ok(())
}

async fn revoke_any(tx: &mut Tx, id: &str, at: Timestamp) -> Worked<Option<KeyRecord>> {
    match enter_owner(tx, id).await? {
        Some(owner) => revoke(tx, owner, id, at).await,
        None => Ok(None),
    }
}

/// The first time counts.
async fn revoke(tx: &mut Tx, owner: i64, id: &str, at: Timestamp) -> Worked<Option<KeyRecord>> {
    const REVOKE: &str = concat!(
        "UPDATE insula.keys k SET revoked_at = coalesce(k.revoked_at, $3) FROM insula.owners o
         WHERE k.owner_no = $1 AND k.key_id = $2 AND o.owner_no = k.owner_no RETURNING ",
        key_columns!()
    );
    let row = sqlx::query(REVOKE).bind(owner).bind(id).bind(at.as_micros()).fetch_optional(tx.on()).await?;
    row.map(|row| record(&row, &tx.server)).transpose()
}

fn record(row: &PgRow, server: &Server) -> Worked<KeyRecord> {
    let id: String = row.try_get(1)?;
    let damaged = |what: &str| server.corrupt(format!("key {id}"), format!("its {what} is damaged"));
    let at = |column| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_micros));
    let hash: &[u8] = row.try_get(5)?;
    Ok(KeyRecord {
        scope: owners::read_back(row.try_get(2)?, row.try_get(3)?, server)?,
        name: row.try_get(4)?,
        hash: hash.try_into().map_err(|_| damaged("hash"))?,
        grants: serde_json::from_str(row.try_get(6)?).map_err(|_| damaged("list of grants"))?,
        created_at: Timestamp::from_micros(row.try_get(7)?),
        expires_at: at(8)?,
        last_used_at: at(9)?,
        revoked_at: at(10)?,
        id,
    })
}
