//! Accounts of users and tenants: reserved before a call, settled in the append that records it.
//!
//! The one writer makes a reservation atomic. An owner's row counts the reservations that are not settled, so that the end
//! of a run of somebody without any costs no statement.

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{Allowance, Amounts, Balance, Budgets, Error, Holder, Reservation, Reserved, RunHeader, Spent};
use rusqlite::{Connection, OptionalExtension, Row, params, types::Type};

use crate::{error::Stop, store::Store, transaction::Tx};

#[async_trait]
impl Budgets for Store {
    async fn reserve(&self, scope: &UserScope, reservation: Reservation) -> Result<Reserved, Error> {
        let (scope, now) = (scope.clone(), self.clock.now());
        self.writer.call(move |tx| reserve(tx, &scope, &reservation, now)).await
    }

    async fn balance(&self, scope: &UserScope, holder: Holder) -> Result<Balance, Error> {
        let (scope, now) = (scope.clone(), self.clock.now());
        self.readers
            .read(move |connection| {
                let account = Account::find(connection, &scope, holder)?.unwrap_or_default();
                let is_open = account.ends_at > now.as_micros();
                let until = is_open.then_some(Timestamp::from_micros(account.ends_at));
                let spent = if is_open { account.spent } else { Amounts::default() };
                Ok(Balance { spent, reserved: account.reserved, until })
            })
            .await
    }
}

/// How an account is stored. What was spent in a window that has ended counts for nothing.
#[derive(Debug, Default)]
struct Account {
    /// When its window ends, and how long the next one is.
    ends_at: i64,
    window: i64,
    spent: Amounts,
    reserved: Amounts,
}

impl Account {
    fn find(connection: &Connection, scope: &UserScope, holder: Holder) -> rusqlite::Result<Option<Self>> {
        const FIND: &str =
            "SELECT ends_at, spent, reserved, window FROM accounts WHERE tenant_id = ?1 AND user_id = ?2";
        let read = |row: &Row<'_>| {
            Ok(Self { ends_at: row.get(0)?, spent: amounts(row, 1)?, reserved: amounts(row, 2)?, window: row.get(3)? })
        };
        connection.prepare_cached(FIND)?.query_row(key(scope, holder), read).optional()
    }

    fn keep(&self, tx: &Tx<'_>, scope: &UserScope, holder: Holder) -> rusqlite::Result<()> {
        const KEEP: &str = "INSERT INTO accounts (tenant_id, user_id, ends_at, spent, reserved, window)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET ends_at = excluded.ends_at,
            window = excluded.window, spent = excluded.spent, reserved = excluded.reserved";
        let (tenant, user) = key(scope, holder);
        let row = params![tenant, user, self.ends_at, text(&self.spent)?, text(&self.reserved)?, self.window];
        tx.connection.prepare_cached(KEEP)?.execute(row).map(|_| ())
    }

    /// The account of an allowance in the window of `now`.
    fn in_window(connection: &Connection, scope: &UserScope, of: &Allowance, now: Timestamp) -> rusqlite::Result<Self> {
        let account = Self::find(connection, scope, of.holder)?.unwrap_or_default();
        Ok(account.renewed(i64::try_from(of.window.as_micros()).unwrap_or(i64::MAX), now))
    }

    /// In the next window if this one has ended. What is reserved goes on.
    fn renewed(self, window: i64, now: Timestamp) -> Self {
        if self.ends_at > now.as_micros() {
            return self;
        }
        Self { ends_at: now.as_micros().saturating_add(window), window, spent: Amounts::default(), ..self }
    }
}

fn key(scope: &UserScope, holder: Holder) -> (&str, &str) {
    match holder {
        Holder::Tenant => (scope.tenant().as_str(), ""),
        Holder::User => (scope.tenant().as_str(), scope.user().as_str()),
    }
}

fn reserve(tx: &mut Tx<'_>, scope: &UserScope, wish: &Reservation, now: Timestamp) -> Result<Reserved, Stop> {
    const FIND: &str = "SELECT 1 FROM reservations WHERE owner_no = ?1 AND run_id = ?2 AND place = ?3";
    const INSERT: &str = "INSERT INTO reservations (owner_no, run_id, place, of_tenant, of_user, amounts)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    const HAS_ENDED: &str = "SELECT 1 FROM runs WHERE owner_no = ?1 AND run_id = ?2 AND place IS NULL";
    if wish.allowances.is_empty() {
        return Ok(Reserved::Granted);
    }
    let mut owner = tx.owner_or_new(scope)?;
    let (number, run) = (owner.number, wish.run.as_str());
    if owner.reserved > 0 && tx.connection.prepare_cached(FIND)?.exists(params![number, run, wish.index])? {
        return Ok(Reserved::Granted);
    }
    if tx.connection.prepare_cached(HAS_ENDED)?.exists(params![number, run])? {
        // Only a worker that was lost asks now, and nobody would give it back.
        return Err(Error::RunEnded { run: wish.run.clone() }.into());
    }
    for allowance in &wish.allowances {
        let account = Account::in_window(tx.connection, scope, allowance, now)?;
        let wanted = account.spent.plus(account.reserved).plus(wish.amounts);
        if let Some(unit) = allowance.ceiling.exceeded_by(&wanted) {
            let limit = allowance.ceiling.of(unit).unwrap_or(u64::MAX);
            let retry_after = Timestamp::from_micros(account.ends_at).since(now);
            return Ok(Reserved::Refused { holder: allowance.holder, unit, limit, retry_after });
        }
    }
    let of = |holder| wish.allowances.iter().find(move |allowance| allowance.holder == holder);
    for (holder, allowance) in [Holder::Tenant, Holder::User].map(|holder| (holder, of(holder))) {
        let Some(allowance) = allowance else { continue };
        let mut account = Account::in_window(tx.connection, scope, allowance, now)?;
        account.reserved = account.reserved.plus(wish.amounts);
        account.keep(tx, scope, holder)?;
    }
    let (of_tenant, of_user) = (of(Holder::Tenant).is_some(), of(Holder::User).is_some());
    let row = params![number, run, wish.index, of_tenant, of_user, text(&wish.amounts)?];
    tx.connection.prepare_cached(INSERT)?.execute(row)?;
    owner.reserved += 1;
    tx.set_owner(scope, owner)?;
    Ok(Reserved::Granted)
}

/// What calls have cost takes the place of what they had reserved, if they had.
pub(crate) fn settle(tx: &mut Tx<'_>, header: &RunHeader, spent: &[Spent], now: Timestamp) -> rusqlite::Result<()> {
    const TAKE: &str = "DELETE FROM reservations WHERE owner_no = ?1 AND run_id = ?2 AND place = ?3
        RETURNING of_tenant, of_user, amounts";
    let scope = &header.scope;
    let Some(mut owner) = tx.owner(scope)? else { return Ok(()) };
    let before = owner.reserved;
    for Spent { index, amounts } in spent {
        let key = params![owner.number, header.run.as_str(), index];
        let taken = match owner.reserved {
            0 => None,
            _ => tx.connection.prepare_cached(TAKE)?.query_row(key, Taken::read).optional()?,
        };
        owner.reserved -= i64::from(taken.is_some());
        taken.unwrap_or_default().leave(tx, scope, Some((amounts, now)))?;
    }
    if owner.reserved == before { Ok(()) } else { tx.set_owner(scope, owner) }
}

/// A run has ended, or all of an owner's are deleted (`None`): what was reserved and not settled is free again.
pub(crate) fn give_back(tx: &mut Tx<'_>, scope: &UserScope, run: Option<&RunId>) -> rusqlite::Result<()> {
    const TAKE: &str = "DELETE FROM reservations WHERE owner_no = ?1 AND run_id = ?2
        RETURNING of_tenant, of_user, amounts";
    const TAKE_ALL: &str = "DELETE FROM reservations WHERE owner_no = ?1 AND ?2 IS NULL
        RETURNING of_tenant, of_user, amounts";
    let Some(mut owner) = tx.owner(scope)?.filter(|owner| owner.reserved > 0) else { return Ok(()) };
    let mut take = tx.connection.prepare_cached(run.map_or(TAKE_ALL, |_| TAKE))?;
    let taken = take.query_map(params![owner.number, run.map(RunId::as_str)], Taken::read)?;
    let taken: Vec<_> = taken.collect::<Result<_, _>>()?;
    for taken in &taken {
        taken.leave(tx, scope, None)?;
        owner.reserved -= 1;
    }
    if taken.is_empty() { Ok(()) } else { tx.set_owner(scope, owner) }
}

/// A reservation that was taken out of its table.
#[derive(Debug, Default)]
struct Taken {
    of_tenant: bool,
    of_user: bool,
    amounts: Amounts,
}

impl Taken {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { of_tenant: row.get(0)?, of_user: row.get(1)?, amounts: amounts(row, 2)? })
    }

    /// Takes it out of the accounts that it is in, and adds what was spent to every account that is open.
    fn leave(&self, tx: &Tx<'_>, scope: &UserScope, spent: Option<(&Amounts, Timestamp)>) -> rusqlite::Result<()> {
        for (holder, is_in) in [(Holder::Tenant, self.of_tenant), (Holder::User, self.of_user)] {
            let found = if is_in || spent.is_some() { Account::find(tx.connection, scope, holder)? } else { None };
            let Some(mut account) = found else { continue };
            if is_in {
                account.reserved = account.reserved.minus(self.amounts);
            }
            if let Some((spent, now)) = spent {
                let window = account.window;
                account = account.renewed(window, now);
                account.spent = account.spent.plus(*spent);
            }
            account.keep(tx, scope, holder)?;
        }
        Ok(())
    }
}

fn text(amounts: &Amounts) -> rusqlite::Result<String> {
    serde_json::to_string(amounts).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn amounts(row: &Row<'_>, column: usize) -> rusqlite::Result<Amounts> {
    let text = row.get::<_, String>(column)?;
    let damaged = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    serde_json::from_str(&text).map_err(damaged)
}
