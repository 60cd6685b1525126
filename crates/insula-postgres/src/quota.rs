//! Counts per owner, in windows. They are durable: a restart does not give anybody a second helping.

use async_trait::async_trait;
use insula_context::{Timestamp, UserScope};
use insula_infra::{Error, Quota, RateLimit, Taken};

use crate::{error::Worked, store::Store, transaction::Tx};

#[async_trait]
impl Quota for Store {
    async fn take(&self, scope: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error> {
        let with = (limit.clone(), amount, self.shared.clock.now());
        self.write("take from a quota", scope, with, |tx, (limit, amount, now)| {
            Box::pin(take(tx, limit, *amount, *now))
        })
        .await
    }
}

/// One statement, so that two never take the last of a window together.
async fn take(tx: &mut Tx, limit: &RateLimit, amount: u64, now: Timestamp) -> Worked<Taken> {
    const TAKE: &str = "INSERT INTO insula.quota AS q (owner_no, name, ends_at, taken) VALUES ($1, $2, $3, $4)
        ON CONFLICT (owner_no, name) DO UPDATE
        SET ends_at = CASE WHEN q.ends_at > $5 THEN q.ends_at ELSE excluded.ends_at END,
            taken = excluded.taken + CASE WHEN q.ends_at > $5 THEN q.taken ELSE 0 END
        WHERE q.ends_at <= $5 OR q.taken <= $6 - excluded.taken
        RETURNING taken";
    let most = i64::try_from(limit.max).unwrap_or(i64::MAX);
    let Some(amount) = i64::try_from(amount).ok().filter(|amount| *amount <= most) else {
        return refused(tx, limit, now).await;
    };
    let (owner, ends) = (tx.owner, now.plus(limit.window));
    let query = sqlx::query_scalar(TAKE).bind(owner).bind(&limit.name).bind(ends.as_micros());
    let taken: Option<i64> = query.bind(amount).bind(now.as_micros()).bind(most).fetch_optional(tx.on()).await?;
    match taken {
        Some(taken) => Ok(Taken::Granted { left: limit.max.saturating_sub(u64::try_from(taken).unwrap_or(0)) }),
        None => refused(tx, limit, now).await,
    }
}

/// Until the end of the window, or of the one that would begin now.
async fn refused(tx: &mut Tx, limit: &RateLimit, now: Timestamp) -> Worked<Taken> {
    const ENDS: &str = "SELECT ends_at FROM insula.quota WHERE owner_no = $1 AND name = $2 AND ends_at > $3";
    let owner = tx.owner;
    let query = sqlx::query_scalar(ENDS).bind(owner).bind(&limit.name).bind(now.as_micros());
    let ends = query.fetch_optional(tx.on()).await?.map_or(now.plus(limit.window), Timestamp::from_micros);
    Ok(Taken::Refused { retry_after: ends.since(now) })
}
