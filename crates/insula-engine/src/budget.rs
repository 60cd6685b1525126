//! What runs may spend: reserved before a call, settled with what it really cost.
//!
//! Each run has a meter in this process, and a child's meter stands on its parent's: what a child spends, its parent has
//! spent. Users and tenants have their accounts in the store, because their runs are in many processes; they are asked
//! only where an allowance is configured.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use insula_agent::{SpentSoFar, ToolFailure};
use insula_context::{Amounts, Ceiling, RunId, Timestamp, Unit};
use insula_infra::{Claimed, EventType, Holder, NewEvent, Reservation, Reserved, Spent};
use insula_registry::AgentClass;
use serde::Serialize;

use crate::{
    core::RunCore,
    events,
    journal::Open,
    options::RunOptions,
    origin::Origin,
    redact,
    replay::{Recorded, Warned},
};

/// What one run may spend and has spent, its children included.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    ceiling: Ceiling,
    parent: Option<Arc<Meter>>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    spent: Amounts,
    reserved: Amounts,
    /// Whose account is nearly spent, and of what: said once each.
    warned: Vec<Warned>,
    /// What children have spent that went elsewhere, as far as it is counted here.
    elsewhere: HashMap<RunId, Amounts>,
    /// The first call that was refused. The run ends with that, whatever its agent makes of it.
    refused: Option<(String, ToolFailure)>,
}

/// `budget_warning`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// `run`, `parent run`, `user` or `tenant`.
    pub holder: &'static str,
    pub unit: Unit,
    pub spent: u64,
    pub limit: u64,
}

/// The budget that was asked for when a run was made.
fn asked(claimed: &Claimed) -> Ceiling {
    RunOptions::read(claimed.options.as_ref()).unwrap_or_default().budget
}

/// The meter of a run that begins here, with what it has spent before it came.
pub(crate) fn open(class: &AgentClass, origin: &Origin) -> Arc<Meter> {
    let own = class.run_budget();
    Arc::new(match origin {
        Origin::Caller => Meter::new(own, None, &Recorded::default()),
        Origin::Child(parent) => Meter::new(own, Some(Arc::clone(&parent.meter)), &Recorded::default()),
        Origin::Queue(claimed, recorded, _) => Meter::new(own.tighter(asked(claimed)), None, recorded),
    })
}

impl Meter {
    fn new(ceiling: Ceiling, parent: Option<Arc<Self>>, recorded: &Recorded) -> Self {
        let book = Book { spent: recorded.spent, warned: recorded.warned.clone(), ..Book::default() };
        Self { ceiling, parent, book: Mutex::new(book) }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run's own meter first, then its parents'.
    fn chain(&self) -> impl Iterator<Item = (&'static str, &Self)> {
        let above = std::iter::successors(self.parent.as_deref(), |meter| meter.parent.as_deref());
        std::iter::once(("run", self)).chain(above.map(|meter| ("parent run", meter)))
    }

    /// What the run has spent.
    pub(crate) fn spent(&self) -> Amounts {
        self.book().spent
    }

    /// What a child may spend at most, for when it is taken over without its parent.
    pub(crate) fn left(&self) -> Ceiling {
        let left = self.chain().map(|(_, meter)| {
            let book = meter.book();
            meter.ceiling.less(&book.spent.plus(book.reserved))
        });
        left.fold(Ceiling::default(), Ceiling::tighter)
    }

    /// Why the run ends, once a call of it was refused.
    pub(crate) fn overspent(&self) -> Option<String> {
        self.book().refused.as_ref().map(|(tool, failure)| format!("tool \"{tool}\" {failure}"))
    }

    /// Reserves what a call is expected to cost, here and in all runs above.
    pub(crate) fn reserve(self: &Arc<Self>, tool: &str, amounts: Amounts) -> Result<Hold, ToolFailure> {
        if let Some((_, failure)) = &self.book().refused {
            return Err(failure.clone());
        }
        let mut hold = Hold { meter: Arc::clone(self), amounts, levels: 0 };
        for (holder, meter) in self.chain() {
            if let Some(unit) = meter.try_reserve(amounts) {
                let limit = meter.ceiling.of(unit).unwrap_or_default();
                let failure = ToolFailure::Budget { holder: holder.to_owned(), unit, limit, retry_after: None };
                self.refuse(tool, &failure, hold.levels + 1);
                return Err(failure);
            }
            hold.levels += 1;
        }
        Ok(hold)
    }

    /// The unit that there is not enough of, if there is one.
    fn try_reserve(&self, amounts: Amounts) -> Option<Unit> {
        let mut book = self.book();
        let reserved = book.reserved.plus(amounts);
        let exceeded = self.ceiling.exceeded_by(&book.spent.plus(reserved));
        if exceeded.is_none() {
            book.reserved = reserved;
        }
        exceeded
    }

    /// The run, and as many in all as have run out, end with this.
    fn refuse(&self, tool: &str, failure: &ToolFailure, levels: usize) {
        for (level, (_, meter)) in (1..).zip(self.chain()).take(levels) {
            let mut failure = failure.clone();
            // What a call of a child is told of as its parent's limit is the parent's own.
            if let ToolFailure::Budget { holder, .. } = &mut failure
                && level == levels
            {
                "run".clone_into(holder);
            }
            meter.book().refused.get_or_insert_with(|| (tool.to_owned(), failure));
        }
    }

    /// Books what was spent, and says what is nearly spent by now and was not before.
    pub(crate) fn spend(&self, amounts: Amounts) -> Vec<Warning> {
        self.chain().flat_map(|(holder, meter)| meter.book_own(holder, amounts, Amounts::default())).collect()
    }

    /// Takes note that a child goes on elsewhere. What it has spent so far was counted as it was spent.
    pub(crate) fn child_left(&self, child: &RunId, spent: Amounts) {
        self.book().elsewhere.insert(child.clone(), spent);
    }

    /// Books what a child has spent that ended elsewhere.
    pub(crate) fn child_ended(&self, child: &RunId, spent: Amounts) -> Vec<Warning> {
        let counted = self.book().elsewhere.remove(child).unwrap_or_default();
        self.spend(spent.minus(counted))
    }

    fn book_own(&self, holder: &'static str, spent: Amounts, reserved: Amounts) -> Vec<Warning> {
        let mut book = self.book();
        book.reserved = book.reserved.minus(reserved);
        book.spent = book.spent.plus(spent);
        let total = book.spent;
        nearly_spent(holder, &self.ceiling, &total).filter(|warning| book.warns(warning)).collect()
    }
}

impl Book {
    /// Whether this is said for the first time.
    fn warns(&mut self, warning: &Warning) -> bool {
        let warned = Warned { holder: warning.holder.to_owned(), unit: warning.unit };
        let first = !self.warned.contains(&warned);
        if first {
            self.warned.push(warned);
        }
        first
    }
}

/// What is spent to 80 % or more.
fn nearly_spent<'a>(
    holder: &'static str,
    ceiling: &'a Ceiling,
    total: &'a Amounts,
) -> impl Iterator<Item = Warning> + 'a {
    let limited = Unit::ALL.into_iter().filter_map(|unit| Some((unit, total.of(unit), ceiling.of(unit)?)));
    let nearly = limited.filter(|(_, spent, limit)| u128::from(*spent) * 5 >= u128::from(*limit) * 4);
    nearly.map(move |(unit, spent, limit)| Warning { holder, unit, spent, limit })
}

/// What a call has reserved. Dropped, it is given back; settled, what the call really cost takes its place.
#[derive(Debug)]
pub(crate) struct Hold {
    meter: Arc<Meter>,
    amounts: Amounts,
    /// How many runs it is reserved in: the call's own and those above.
    levels: usize,
}

impl Hold {
    fn settle(mut self, actual: Amounts) -> Vec<Warning> {
        let levels = std::mem::take(&mut self.levels);
        let chain = self.meter.chain().take(levels);
        chain.flat_map(|(holder, meter)| meter.book_own(holder, actual, self.amounts)).collect()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        for (_, meter) in self.meter.chain().take(self.levels) {
            let mut book = meter.book();
            book.reserved = book.reserved.minus(self.amounts);
        }
    }
}

/// Whether users and tenants are charged, or the run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charged {
    RunOnly,
    Accounts,
}

impl Charged {
    /// What is booked of a call: all that counts where accounts do, and otherwise what the tool has reported, if anything.
    fn booked(self, reported: Amounts, counted: Amounts) -> Option<Amounts> {
        match self {
            Self::Accounts => Some(counted),
            Self::RunOnly => (!reported.is_zero()).then_some(reported),
        }
    }
}

/// What a call that is being made will be charged with.
#[derive(Debug)]
pub(crate) struct Charge {
    hold: Hold,
    charged: Charged,
    reported: SpentSoFar,
}

/// What is written of a call's cost, all in the append of its end.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// What the tool has reported.
    pub reported: Option<Amounts>,
    /// What the store books: on the accounts that are charged, and as what the user has used.
    pub spent: Option<Spent>,
    pub warnings: Vec<NewEvent>,
}

impl Charge {
    pub(crate) fn new((hold, charged): (Hold, Charged), reported: SpentSoFar) -> Self {
        Self { hold, charged, reported }
    }

    /// Books what the call has cost.
    pub(crate) fn settle(self, open: &Open, bytes: usize, now: Timestamp) -> Settled {
        let reported = self.reported.total();
        let amounts = reported.plus(counted(bytes, now.since(open.since)));
        let warnings = self.hold.settle(amounts);
        Settled {
            reported: (!reported.is_zero()).then_some(reported),
            spent: self.charged.booked(reported, amounts).map(|amounts| Spent { index: open.index, amounts }),
            warnings: warnings.iter().map(|said| events::event(EventType::BudgetWarning, now, said)).collect(),
        }
    }
}

/// What every call costs: itself, its time and the size of its result.
pub(crate) fn counted(bytes: usize, duration: Duration) -> Amounts {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Amounts { tool_calls: 1, bytes: bytes as u64, millis, ..Amounts::default() }
}

/// What a call is expected to cost at most.
pub(crate) fn estimate(cost: Amounts) -> Amounts {
    cost.plus(Amounts { tool_calls: 1, ..Amounts::default() })
}

/// Reserves in the accounts of the user and the tenant, where they have an allowance.
pub(crate) async fn reserve_of_user(
    run: &RunCore,
    tool: &str,
    index: u32,
    amounts: Amounts,
) -> Result<Charged, ToolFailure> {
    let allowances = run.account.allowances();
    if allowances.is_empty() {
        return Ok(Charged::RunOnly);
    }
    let unchecked = |error: String| {
        // A limit that cannot be checked is not a limit that is kept: closed, not open.
        ToolFailure::FailedForNow { message: format!("the budget cannot be checked: {}", redact::message(&error)) }
    };
    // A reservation ends with its run at the latest, so the run must be there first.
    run.durable().await.map_err(|error| unchecked(error.to_string()))?;
    let reservation = Reservation { run: run.context.run().clone(), index, amounts, allowances: allowances.to_vec() };
    let answer = run.platform.backend.budgets.reserve(run.context.scope(), reservation).await;
    match answer.map_err(|error| unchecked(error.to_string()))? {
        Reserved::Granted => {
            warn_of_accounts(run).await;
            Ok(Charged::Accounts)
        }
        Reserved::Refused { holder, unit, limit, retry_after } => {
            let holder = word(holder).to_owned();
            let failure = ToolFailure::Budget { holder, unit, limit, retry_after: Some(retry_after) };
            run.meter.refuse(tool, &failure, usize::MAX);
            Err(failure)
        }
    }
}

const fn word(holder: Holder) -> &'static str {
    match holder {
        Holder::Tenant => "tenant",
        Holder::User => "user",
    }
}

/// Says which accounts are nearly spent, once for each run that spends from them.
async fn warn_of_accounts(run: &RunCore) {
    for allowance in run.account.allowances() {
        // A warning that cannot be given must not fail the call.
        let Ok(balance) = run.platform.backend.budgets.balance(run.context.scope(), allowance.holder).await else {
            return;
        };
        for warning in nearly_spent(word(allowance.holder), &allowance.ceiling, &balance.spent) {
            if run.meter.book().warns(&warning) {
                run.journal.say(EventType::BudgetWarning, &warning);
            }
        }
    }
}

#[cfg(test)]
mod tests;
