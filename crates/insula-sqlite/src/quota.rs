//! Counts per owner, in windows. They are durable: a restart does not give anybody a second helping.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, Quota, RateLimit, Taken};
use rusqlite::{OptionalExtension, params};

use crate::{error::Stop, store::Store, transaction::Tx};

#[async_trait]
impl Quota for Store {
    async fn take(&self, scope: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error> {
        let (scope, limit, now) = (scope.clone(), limit.clone(), self.clock.now());
        self.writer.call(move |tx| take(tx, &scope, &limit, amount, now)).await
    }
}

fn take(tx: &mut Tx<'_>, scope: &UserScope, limit: &RateLimit, amount: u64, now: Timestamp) -> Result<Taken, Stop> {
    const OPEN: &str = "SELECT ends_at, taken FROM quota WHERE owner_no = ?1 AND name = ?2 AND ends_at > ?3";
    const TAKE: &str = "INSERT INTO quota (owner_no, name, ends_at, taken) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO UPDATE SET ends_at = excluded.ends_at, taken = excluded.taken";
    let owner = tx.owner_or_new(scope)?.number;
    let read = |row: &rusqlite::Row<'_>| Ok((Timestamp::from_micros(row.get(0)?), row.get(1)?));
    let key = params![owner, limit.name, now.as_micros()];
    let open = tx.connection.prepare_cached(OPEN)?.query_row(key, read).optional()?;
    let (ends, before): (Timestamp, u64) = open.unwrap_or((now.plus(limit.window), 0));
    match before.checked_add(amount).filter(|taken| *taken <= limit.max && i64::try_from(*taken).is_ok()) {
        None => Ok(Taken::Refused { retry_after: ends.since(now) }),
        Some(taken) => {
            tx.connection.prepare_cached(TAKE)?.execute(params![owner, limit.name, ends.as_micros(), taken])?;
            Ok(Taken::Granted { left: limit.max - taken })
        }
    }
}
