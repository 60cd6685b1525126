//! Accounts of users and tenants: what is spent, and what calls in progress have reserved.
//!
//! What a run has reserved stands with its owner; the accounts themselves stand together, because a tenant's users share
//! one. Nothing here is touched by a run that reserves nothing.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, TenantId, Timestamp, UserScope};

use super::{
    owner::Owner,
    shard::{Map, lock},
    store::Store,
};
use crate::{Allowance, Amounts, Balance, Budgets, Error, Holder, Reservation, Reserved, Spent};

/// What an owner's runs have reserved.
pub(super) type Reservations = Map<RunId, Vec<Kept>>;

/// What one call has reserved.
#[derive(Debug)]
pub(super) struct Kept {
    index: u32,
    amounts: Amounts,
    holders: Vec<Holder>,
    /// When it goes if its run never comes: a run may reserve before it is written for the first time.
    until: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Tenant(TenantId),
    User(UserScope),
}

impl Name {
    fn new(scope: &UserScope, holder: Holder) -> Self {
        match holder {
            Holder::Tenant => Self::Tenant(scope.tenant().clone()),
            Holder::User => Self::User(scope.clone()),
        }
    }
}

#[derive(Debug)]
struct Account {
    ends: Timestamp,
    window: Duration,
    spent: Amounts,
    reserved: Amounts,
}

impl Account {
    fn new(allowance: &Allowance, now: Timestamp) -> Self {
        let (spent, reserved) = Default::default();
        Self { ends: now.plus(allowance.window), window: allowance.window, spent, reserved }
    }

    /// Begins the next window if this one has ended. What is reserved goes on.
    fn renew(&mut self, window: Duration, now: Timestamp) {
        if self.ends <= now {
            (self.ends, self.window, self.spent) = (now.plus(window), window, Amounts::default());
        }
    }

    fn balance(&self, now: Timestamp) -> Balance {
        let open = self.ends > now;
        let spent = if open { self.spent } else { Amounts::default() };
        Balance { spent, reserved: self.reserved, until: open.then_some(self.ends) }
    }
}

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    open: HashMap<Name, Account>,
    /// How many there may be before those that say nothing any more are looked for.
    sweep_at: usize,
}

impl Accounts {
    fn balance(&self, scope: &UserScope, holder: Holder, now: Timestamp) -> Balance {
        self.open.get(&Name::new(scope, holder)).map(|account| account.balance(now)).unwrap_or_default()
    }

    /// The refusal of the first allowance that would be exceeded.
    fn refusal(&self, scope: &UserScope, wish: &Reservation, now: Timestamp) -> Option<Reserved> {
        wish.allowances.iter().find_map(|Allowance { holder, ceiling, window }| {
            let balance = self.balance(scope, *holder, now);
            let unit = ceiling.exceeded_by(&balance.spent.plus(balance.reserved).plus(wish.amounts))?;
            let retry_after = balance.until.map_or(*window, |until| until.since(now));
            Some(Reserved::Refused { holder: *holder, unit, limit: ceiling.of(unit)?, retry_after })
        })
    }

    fn reserve(&mut self, scope: &UserScope, wish: &Reservation, now: Timestamp) -> Kept {
        self.sweep(now);
        let mut kept = Kept { index: wish.index, amounts: wish.amounts, holders: Vec::new(), until: now };
        for allowance in &wish.allowances {
            let account = self.open.entry(Name::new(scope, allowance.holder));
            let account = account.or_insert_with(|| Account::new(allowance, now));
            account.renew(allowance.window, now);
            kept.until = kept.until.max(account.ends);
            if !kept.holders.contains(&allowance.holder) {
                kept.holders.push(allowance.holder);
                account.reserved = account.reserved.plus(wish.amounts);
            }
        }
        kept
    }

    fn give_back(&mut self, scope: &UserScope, kept: &Kept) {
        for holder in &kept.holders {
            if let Some(account) = self.open.get_mut(&Name::new(scope, *holder)) {
                account.reserved = account.reserved.minus(kept.amounts);
            }
        }
    }

    /// What was spent counts in every account that there is.
    fn spend(&mut self, scope: &UserScope, amounts: Amounts, now: Timestamp) {
        for holder in [Holder::Tenant, Holder::User] {
            if let Some(account) = self.open.get_mut(&Name::new(scope, holder)) {
                account.renew(account.window, now);
                account.spent = account.spent.plus(amounts);
            }
        }
    }

    /// Drops accounts without a window and without reservations, whenever their number has doubled.
    fn sweep(&mut self, now: Timestamp) {
        if self.open.len() < self.sweep_at {
            return;
        }
        self.open.retain(|_, account| account.ends > now || !account.reserved.is_zero());
        self.sweep_at = 2 * self.open.len() + 16;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

#[async_trait]
impl Budgets for Store {
    async fn reserve(&self, scope: &UserScope, wish: Reservation) -> Result<Reserved, Error> {
        if wish.allowances.is_empty() {
            return Ok(Reserved::Granted);
        }
        let now = self.clock.now();
        let mut shard = self.shards.lock(scope);
        let owner = shard.owners.entry(scope.clone()).or_default();
        if owner.runs.get(&wish.run).is_some_and(|run| run.has_ended()) {
            return Err(Error::RunEnded { run: wish.run });
        }
        let known = owner.reservations.get(&wish.run);
        let answer = if known.is_some_and(|known| known.iter().any(|kept| kept.index == wish.index)) {
            Reserved::Granted
        } else {
            self.reserve_now(scope, owner, wish, now)
        };
        shard.drop_if_empty(scope);
        Ok(answer)
    }

    async fn balance(&self, scope: &UserScope, holder: Holder) -> Result<Balance, Error> {
        Ok(lock(&self.accounts).balance(scope, holder, self.clock.now()))
    }
}

impl Store {
    fn reserve_now(&self, scope: &UserScope, owner: &mut Owner, wish: Reservation, now: Timestamp) -> Reserved {
        let mut accounts = lock(&self.accounts);
        if owner.reservations.len() > 2 * owner.runs.len() + 16 {
            forget_those_who_never_came(scope, owner, &mut accounts, now);
        }
        if let Some(refusal) = accounts.refusal(scope, &wish, now) {
            return refusal;
        }
        let kept = accounts.reserve(scope, &wish, now);
        owner.reservations.entry(wish.run).or_default().push(kept);
        Reserved::Granted
    }

    /// Puts what calls have cost in the place of what they had reserved.
    pub(super) fn settle(&self, scope: &UserScope, reservations: &mut Reservations, run: &RunId, spent: &[Spent]) {
        let (mut accounts, now) = (lock(&self.accounts), self.clock.now());
        for Spent { index, amounts } in spent {
            if let Some(calls) = reservations.get_mut(run) {
                let place = calls.iter().position(|kept| kept.index == *index);
                place.into_iter().for_each(|place| accounts.give_back(scope, &calls.swap_remove(place)));
            }
            accounts.spend(scope, *amounts, now);
        }
        if reservations.get(run).is_some_and(Vec::is_empty) {
            reservations.remove(run);
        }
    }

    /// Gives back what a run has reserved and not settled.
    pub(super) fn give_back(&self, scope: &UserScope, reservations: &mut Reservations, run: &RunId) {
        let Some(calls) = reservations.remove(run) else { return };
        let mut accounts = lock(&self.accounts);
        calls.iter().for_each(|kept| accounts.give_back(scope, kept));
    }

    /// Gives back everything of a user, and closes the user's account.
    pub(super) fn close_account(&self, scope: &UserScope, reservations: &Reservations) {
        let mut accounts = lock(&self.accounts);
        reservations.values().flatten().for_each(|kept| accounts.give_back(scope, kept));
        accounts.open.remove(&Name::new(scope, Holder::User));
    }
}

fn forget_those_who_never_came(scope: &UserScope, owner: &mut Owner, accounts: &mut Accounts, now: Timestamp) {
    let Owner { reservations, runs, .. } = owner;
    reservations.retain(|run, calls| {
        let stays = runs.contains_key(run) || calls.iter().any(|kept| kept.until > now);
        if !stays {
            calls.iter().for_each(|kept| accounts.give_back(scope, kept));
        }
        stays
    });
}
