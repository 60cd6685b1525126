//! Accounts of users and tenants: reserved before a call, settled in the append that records it.
//!
//! Whoever changes accounts locks them first, in the order of their owners' numbers; a tenant's account is that of the owner
//! without a user. A reservation belongs to a run: whoever makes one has locked the run against its end, whoever takes one
//! has locked the run or all that its owner has.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{Allowance, Amounts, Balance, Budgets, Error, Holder, Reservation, Reserved, Spent};
use sqlx::{Row, postgres::PgRow};

use crate::{
    accounts::{Account, amounts, text},
    error::Worked,
    owners::{self, Newcomers},
    store::Store,
    transaction::{Kind, Tx},
};

#[async_trait]
impl Budgets for Store {
    async fn reserve(&self, scope: &UserScope, reservation: Reservation) -> Result<Reserved, Error> {
        if reservation.allowances.is_empty() {
            return Ok(Reserved::Granted);
        }
        let with = (scope.clone(), reservation, self.shared.clock.now());
        self.write("reserve", scope, with, |tx, (scope, wish, now)| Box::pin(reserve(tx, scope, wish, *now))).await
    }

    async fn balance(&self, scope: &UserScope, holder: Holder) -> Result<Balance, Error> {
        let with = (scope.clone(), holder, self.shared.clock.now());
        self.across("read an account", Kind::Read, with, |tx, (scope, holder, now)| {
            Box::pin(balance(tx, scope, *holder, *now))
        })
        .await
    }
}

async fn balance(tx: &mut Tx, scope: &UserScope, holder: Holder, now: Timestamp) -> Worked<Balance> {
    const ONE: &str = "SELECT owner_no, ends_at, span, spent, reserved FROM insula.accounts WHERE owner_no = $1";
    let user = match holder {
        Holder::Tenant => "",
        Holder::User => scope.user().as_str(),
    };
    let number = tx.enter_named(&[scope.tenant().as_str()], &[user]).await?.into_iter().next().flatten();
    let row = sqlx::query(ONE).bind(number).fetch_optional(tx.on()).await?;
    let account = row.map(|row| Account::read(tx, &row)).transpose()?.unwrap_or_default();
    let is_open = account.ends_at > now.as_micros();
    let until = is_open.then_some(Timestamp::from_micros(account.ends_at));
    let spent = if is_open { account.spent } else { Amounts::default() };
    Ok(Balance { spent, reserved: account.reserved, until })
}

async fn reserve(tx: &mut Tx, scope: &UserScope, wish: &Reservation, now: Timestamp) -> Worked<Reserved> {
    if has_ended(tx, &wish.run).await? {
        // Only a worker that was lost asks now, and nobody would give it back.
        return Err(Error::RunEnded { run: wish.run.clone() }.into());
    }
    let holders = Holders::of(tx, scope, wish).await?;
    let (opened, mut accounts) = open(tx, &holders).await?;
    let is_reserved = is_reserved(tx, wish).await?;
    let refused = refusal(&accounts, &holders, wish, now).filter(|_| !is_reserved);
    if is_reserved || refused.is_some() {
        Account::close(tx, &opened).await?;
        return Ok(refused.unwrap_or(Reserved::Granted));
    }
    for (number, allowance) in holders.first_allowances(wish) {
        let account = accounts.entry(number).or_default();
        account.renew(span(allowance), now);
        account.reserved = account.reserved.plus(wish.amounts);
    }
    Account::keep(tx, accounts.iter().map(|(number, account)| (*number, account))).await?;
    write_down(tx, wish, &holders).await?;
    Ok(Reserved::Granted)
}

/// Locks the accounts, and says which of them were not there before.
async fn open(tx: &mut Tx, holders: &Holders) -> Worked<(Vec<i64>, BTreeMap<i64, Account>)> {
    let numbers = holders.numbers();
    let mut opened = Vec::new();
    loop {
        // Before anything is locked: who waits for another's account to be opened must not stand in that one's way.
        opened.extend(Account::open(tx, &numbers).await?);
        let accounts = Account::lock(tx, &numbers).await?;
        // One that is deleted in between is opened again.
        if accounts.len() == numbers.len() {
            return Ok((opened, accounts));
        }
    }
}

/// Whether the run has ended. If it has not, it does not end before this transaction does.
async fn has_ended(tx: &mut Tx, run: &RunId) -> sqlx::Result<bool> {
    const LOCK: &str = "SELECT place IS NULL FROM insula.runs WHERE owner_no = $1 AND run_id = $2 FOR SHARE";
    let owner = tx.owner;
    let found = sqlx::query_scalar(LOCK).bind(owner).bind(run.as_str()).fetch_optional(tx.on()).await?;
    Ok(found.unwrap_or(false))
}

async fn is_reserved(tx: &mut Tx, wish: &Reservation) -> sqlx::Result<bool> {
    const FIND: &str = "SELECT EXISTS
        (SELECT 1 FROM insula.reservations WHERE owner_no = $1 AND run_id = $2 AND place = $3)";
    let owner = tx.owner;
    let find = sqlx::query_scalar(FIND).bind(owner).bind(wish.run.as_str()).bind(i64::from(wish.index));
    find.fetch_one(tx.on()).await
}

/// The first allowance that does not allow it.
fn refusal(
    accounts: &BTreeMap<i64, Account>,
    holders: &Holders,
    wish: &Reservation,
    now: Timestamp,
) -> Option<Reserved> {
    wish.allowances.iter().find_map(|allowance| {
        let number = holders.number(allowance.holder)?;
        let mut account = accounts.get(&number).copied().unwrap_or_default();
        account.renew(span(allowance), now);
        let wanted = account.spent.plus(account.reserved).plus(wish.amounts);
        let unit = allowance.ceiling.exceeded_by(&wanted)?;
        let limit = allowance.ceiling.of(unit).unwrap_or(u64::MAX);
        let retry_after = Timestamp::from_micros(account.ends_at).since(now);
        Some(Reserved::Refused { holder: allowance.holder, unit, limit, retry_after })
    })
}

async fn write_down(tx: &mut Tx, wish: &Reservation, holders: &Holders) -> Worked<()> {
    const INSERT: &str = "INSERT INTO insula.reservations (owner_no, run_id, place, of_tenant, of_user, amounts)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let owner = tx.owner;
    let insert = sqlx::query(INSERT).bind(owner).bind(wish.run.as_str()).bind(i64::from(wish.index));
    let insert = insert.bind(holders.tenant.is_some()).bind(holders.user.is_some()).bind(text(&wish.amounts)?);
    insert.execute(tx.on()).await?;
    Ok(())
}

/// The numbers of those whose allowances are asked.
#[derive(Debug, Clone, Copy)]
struct Holders {
    tenant: Option<i64>,
    user: Option<i64>,
}

impl Holders {
    async fn of(tx: &mut Tx, scope: &UserScope, wish: &Reservation) -> Worked<Self> {
        let is_asked = |holder| wish.allowances.iter().any(|allowance| allowance.holder == holder);
        let user = is_asked(Holder::User).then_some(tx.owner);
        let tenant = if is_asked(Holder::Tenant) { Some(tenant(tx, scope).await?) } else { None };
        Ok(Self { tenant, user })
    }

    fn number(&self, holder: Holder) -> Option<i64> {
        match holder {
            Holder::Tenant => self.tenant,
            Holder::User => self.user,
        }
    }

    fn numbers(&self) -> Vec<i64> {
        self.tenant.into_iter().chain(self.user).collect()
    }

    /// The allowance that says how long a window of each of them is.
    fn first_allowances<'w>(&self, wish: &'w Reservation) -> impl Iterator<Item = (i64, &'w Allowance)> {
        let of = |holder| {
            let first = wish.allowances.iter().find(|allowance| allowance.holder == holder)?;
            Some((self.number(holder)?, first))
        };
        [of(Holder::Tenant), of(Holder::User)].into_iter().flatten()
    }
}

/// The number of a tenant itself, who gets one with the first reservation.
async fn tenant(tx: &mut Tx, scope: &UserScope) -> Worked<i64> {
    let name = [scope.tenant().as_str()];
    if let [Some(number)] = tx.enter_named(&name, &[""]).await?[..] {
        return Ok(number);
    }
    let numbered = owners::look_up(tx.on(), &name, &[""], Newcomers::Number).await?;
    let [Some(number)] = numbered[..] else { return tx.corrupt("the number of the tenant", scope) };
    tx.enter(&[number]).await?;
    Ok(number)
}

fn span(allowance: &Allowance) -> i64 {
    i64::try_from(allowance.window.as_micros()).unwrap_or(i64::MAX)
}

/// What calls of a run have cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spending<'a> {
    pub(crate) owner: i64,
    pub(crate) scope: &'a UserScope,
    pub(crate) run: &'a RunId,
    pub(crate) spent: &'a [Spent],
}

/// What calls have cost takes the place of what they had reserved, if they had. Nothing is written where no account is open.
pub(crate) async fn settle(tx: &mut Tx, spendings: &[Spending<'_>], now: Timestamp) -> Worked<()> {
    if spendings.iter().all(|spending| spending.spent.is_empty()) {
        return Ok(());
    }
    let holders: Vec<_> = spendings.iter().map(|spending| (spending.owner, spending.scope)).collect();
    let mut accounts = Accounts::lock(tx, &holders).await?;
    if accounts.rows.is_empty() {
        return Ok(());
    }
    let taken = take(tx, spendings).await?;
    for Spending { owner, scope, run, spent } in spendings {
        for Spent { index, amounts } in *spent {
            let taken = taken.get(&(*owner, run.as_str().to_owned(), i64::from(*index))).copied().unwrap_or_default();
            accounts.leave(*owner, scope, &taken, Some((*amounts, now)));
        }
    }
    accounts.keep(tx).await
}

/// The reservations of these calls, out of their table.
async fn take(tx: &mut Tx, spendings: &[Spending<'_>]) -> Worked<BTreeMap<(i64, String, i64), Taken>> {
    const TAKE: &str = "DELETE FROM insula.reservations r
        USING unnest($1::bigint[], $2::text[], $3::bigint[]) AS c(owner_no, run_id, place)
        WHERE r.owner_no = c.owner_no AND r.run_id = c.run_id COLLATE \"C\" AND r.place = c.place
        RETURNING r.owner_no, r.run_id, r.place, r.of_tenant, r.of_user, r.amounts";
    let (mut owners, mut runs, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for Spending { owner, run, spent, .. } in spendings {
        for Spent { index, .. } in *spent {
            owners.push(*owner);
            runs.push(run.as_str());
            places.push(i64::from(*index));
        }
    }
    let rows = sqlx::query(TAKE).bind(owners).bind(runs).bind(places).fetch_all(tx.on()).await?;
    rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?), Taken::read(tx, row)?))).collect()
}

/// Runs have ended: what they reserved and did not settle is free again. Where they reserved nothing, that is one statement.
pub(crate) async fn give_back(tx: &mut Tx, ended: &[(i64, &UserScope, &RunId)]) -> Worked<()> {
    const TAKE: &str = "DELETE FROM insula.reservations r USING unnest($1::bigint[], $2::text[]) AS e(owner_no, run_id)
        WHERE r.owner_no = e.owner_no AND r.run_id = e.run_id COLLATE \"C\"
        RETURNING r.owner_no, r.run_id, r.place, r.of_tenant, r.of_user, r.amounts";
    if ended.is_empty() {
        return Ok(());
    }
    let owners: Vec<i64> = ended.iter().map(|(owner, ..)| *owner).collect();
    let runs: Vec<&str> = ended.iter().map(|(.., run)| run.as_str()).collect();
    let rows = sqlx::query(TAKE).bind(owners).bind(runs).fetch_all(tx.on()).await?;
    let scopes: BTreeMap<i64, &UserScope> = ended.iter().map(|(owner, scope, _)| (*owner, *scope)).collect();
    free(tx, &rows, &scopes).await
}

/// All that an owner has is deleted: whatever was reserved and not settled is free again.
pub(crate) async fn give_back_all(tx: &mut Tx, owner: i64, scope: &UserScope) -> Worked<()> {
    const TAKE: &str = "DELETE FROM insula.reservations WHERE owner_no = $1
        RETURNING owner_no, run_id, place, of_tenant, of_user, amounts";
    let rows = sqlx::query(TAKE).bind(owner).fetch_all(tx.on()).await?;
    free(tx, &rows, &BTreeMap::from([(owner, scope)])).await
}

/// Takes reservations, which are out of their table already, out of their accounts.
async fn free(tx: &mut Tx, rows: &[PgRow], scopes: &BTreeMap<i64, &UserScope>) -> Worked<()> {
    let mut taken = Vec::new();
    for row in rows {
        let owner = row.try_get(0)?;
        let Some(scope) = scopes.get(&owner) else { continue };
        taken.push((owner, *scope, Taken::read(tx, row)?));
    }
    if taken.is_empty() {
        return Ok(());
    }
    let holders: Vec<_> = taken.iter().map(|(owner, scope, _)| (*owner, *scope)).collect();
    let mut accounts = Accounts::lock(tx, &holders).await?;
    for (owner, scope, taken) in &taken {
        accounts.leave(*owner, scope, taken, None);
    }
    accounts.keep(tx).await
}

/// Accounts that this transaction has locked, as they are to be.
#[derive(Debug, Default)]
struct Accounts {
    /// Numbers of tenants themselves, of those who have one.
    tenants: BTreeMap<String, i64>,
    rows: BTreeMap<i64, Account>,
    changed: BTreeSet<i64>,
}

impl Accounts {
    /// Locks those of these owners and of their tenants that are there.
    async fn lock(tx: &mut Tx, holders: &[(i64, &UserScope)]) -> Worked<Self> {
        let names: BTreeSet<&str> = holders.iter().map(|(_, scope)| scope.tenant().as_str()).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let found = tx.enter_named(&names, &vec![""; names.len()]).await?;
        let numbered = names.into_iter().zip(found).filter_map(|(name, number)| Some((name.to_owned(), number?)));
        let tenants: BTreeMap<String, i64> = numbered.collect();
        let wanted: Vec<i64> = holders.iter().map(|(owner, _)| *owner).chain(tenants.values().copied()).collect();
        let rows = Account::lock(tx, &wanted).await?;
        Ok(Self { tenants, rows, changed: BTreeSet::new() })
    }

    /// Takes a reservation out of the accounts that it is in, and adds what was spent to every account that is open.
    fn leave(&mut self, owner: i64, scope: &UserScope, taken: &Taken, spent: Option<(Amounts, Timestamp)>) {
        let tenant = self.tenants.get(scope.tenant().as_str()).copied();
        for (holder, is_in) in [(tenant, taken.of_tenant), (Some(owner), taken.of_user)] {
            let Some(number) = holder.filter(|_| is_in || spent.is_some()) else { continue };
            let Some(account) = self.rows.get_mut(&number) else { continue };
            if is_in {
                account.reserved = account.reserved.minus(taken.amounts);
            }
            if let Some((spent, now)) = spent {
                account.renew(account.span, now);
                account.spent = account.spent.plus(spent);
            }
            self.changed.insert(number);
        }
    }

    /// Writes what has changed.
    async fn keep(&self, tx: &mut Tx) -> Worked<()> {
        let changed = self.changed.iter().filter_map(|number| Some((*number, self.rows.get(number)?)));
        Account::keep(tx, changed).await
    }
}

/// A reservation that was taken out of its table.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    of_tenant: bool,
    of_user: bool,
    amounts: Amounts,
}

impl Taken {
    fn read(tx: &Tx, row: &PgRow) -> Worked<Self> {
        Ok(Self { of_tenant: row.try_get(3)?, of_user: row.try_get(4)?, amounts: amounts(tx, row, 5)? })
    }
}
