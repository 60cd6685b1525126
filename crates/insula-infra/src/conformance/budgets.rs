//! Rules of accounts: what is reserved before a call counts, and what it cost takes its place.

use std::time::Duration;

use insula_context::UserScope;
use tokio::task::JoinSet;

use super::{
    Subject,
    story::{LEASE, Writer, run, stop},
    subject::scope,
};
use crate::{Allowance, Amounts, Append, Balance, Ceiling, Holder, Reservation, Reserved, Spent, Unit};

const WINDOW: u64 = 600;

fn tokens(tokens: u64) -> Amounts {
    Amounts { tokens, ..Amounts::default() }
}

fn allowance(holder: Holder, limit: u64) -> Allowance {
    let ceiling = Ceiling { tokens: Some(limit), ..Ceiling::default() };
    Allowance { holder, ceiling, window: Duration::from_secs(WINDOW) }
}

async fn reserve(
    subject: &Subject,
    scope: &UserScope,
    (id, index): (&str, u32),
    amount: u64,
    allowances: &[Allowance],
) -> Reserved {
    let (run, amounts, allowances) = (run(id), tokens(amount), allowances.to_vec());
    let reservation = Reservation { run, index, amounts, allowances };
    subject.backend.budgets.reserve(scope, reservation).await.expect("the accounts answer")
}

async fn balance(subject: &Subject, scope: &UserScope, holder: Holder) -> Balance {
    subject.backend.budgets.balance(scope, holder).await.expect("the accounts answer")
}

/// Tokens spent and tokens reserved.
async fn of_user(subject: &Subject, scope: &UserScope) -> (u64, u64) {
    let balance = balance(subject, scope, Holder::User).await;
    (balance.spent.tokens, balance.reserved.tokens)
}

async fn of_tenant(subject: &Subject, scope: &UserScope) -> (u64, u64) {
    let balance = balance(subject, scope, Holder::Tenant).await;
    (balance.spent.tokens, balance.reserved.tokens)
}

async fn settle(writer: &mut Writer, index: u32, amount: u64) {
    let spent = vec![Spent { index, amounts: tokens(amount) }];
    writer.send(Append { spent, ..writer.append(Vec::new(), None) }).await.expect("a call is settled");
}

/// One user's spending takes nothing from another, and is not shown to another.
pub async fn counts_for_each_user_alone(subject: Subject) {
    let mine = [allowance(Holder::User, 10)];
    subject.start(&subject.ada(), "t", "hers").await;
    assert_eq!(reserve(&subject, &subject.ada(), ("hers", 1), 10, &mine).await, Reserved::Granted);
    for (n, other) in subject.others().into_iter().enumerate() {
        let id = format!("theirs-{n}");
        subject.start(&other, "t", &id).await;
        assert_eq!(of_user(&subject, &other).await, (0, 0), "{other} was shown a balance");
        assert_eq!(reserve(&subject, &other, (&id, 1), 10, &mine).await, Reserved::Granted, "{other}");
    }
}

/// The account of a tenant is that of its users only.
pub async fn counts_for_each_tenant_alone(subject: Subject) {
    let shared = [allowance(Holder::Tenant, 10)];
    subject.start(&subject.ada(), "t", "hers").await;
    assert_eq!(reserve(&subject, &subject.ada(), ("hers", 1), 10, &shared).await, Reserved::Granted);
    for (n, stranger) in [scope("globex", "ada"), scope("ac", "meada")].into_iter().enumerate() {
        let id = format!("theirs-{n}");
        subject.start(&stranger, "t", &id).await;
        assert_eq!(of_tenant(&subject, &stranger).await, (0, 0), "{stranger} was shown a balance");
        assert_eq!(reserve(&subject, &stranger, (&id, 1), 10, &shared).await, Reserved::Granted, "{stranger}");
    }
}

/// The end of one user's run gives back nothing of another's.
pub async fn gives_back_to_its_owner_only(subject: Subject) {
    let mine = [allowance(Holder::User, 10)];
    subject.start(&subject.ada(), "t", "r").await;
    assert_eq!(reserve(&subject, &subject.ada(), ("r", 1), 10, &mine).await, Reserved::Granted);
    for other in subject.others() {
        subject.start(&other, "t", "r").await.end().await;
    }
    assert_eq!(of_user(&subject, &subject.ada()).await, (0, 10));
}

/// The users of a tenant share its account.
pub async fn users_of_a_tenant_share_its_account(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    let shared = [allowance(Holder::Tenant, 10)];
    let mut hers = subject.start(&ada, "t", "hers").await;
    subject.start(&bob, "t", "his").await;
    assert_eq!(reserve(&subject, &ada, ("hers", 1), 6, &shared).await, Reserved::Granted);
    let refused = reserve(&subject, &bob, ("his", 1), 5, &shared).await;
    assert!(matches!(refused, Reserved::Refused { holder: Holder::Tenant, unit: Unit::Tokens, limit: 10, .. }));
    assert_eq!(reserve(&subject, &bob, ("his", 2), 4, &shared).await, Reserved::Granted);
    settle(&mut hers, 1, 2).await;
    assert_eq!((of_tenant(&subject, &ada).await, of_tenant(&subject, &bob).await), ((2, 4), (2, 4)));
    assert_eq!(of_user(&subject, &ada).await, (0, 0), "who has no allowance has no account");
}

/// What is reserved counts as if it were spent, up to the last.
pub async fn grants_what_is_left_and_no_more(subject: Subject) {
    let ada = subject.ada();
    let mine = [allowance(Holder::User, 100)];
    subject.start(&ada, "t", "r").await;
    assert_eq!(reserve(&subject, &ada, ("r", 1), 60, &mine).await, Reserved::Granted);
    let refused = reserve(&subject, &ada, ("r", 2), 41, &mine).await;
    let retry_after = Duration::from_secs(WINDOW);
    assert_eq!(refused, Reserved::Refused { holder: Holder::User, unit: Unit::Tokens, limit: 100, retry_after });
    assert_eq!(of_user(&subject, &ada).await, (0, 60), "a refusal reserves nothing");
    assert_eq!(reserve(&subject, &ada, ("r", 2), 40, &mine).await, Reserved::Granted);
    subject.pass(100);
    let refused = reserve(&subject, &ada, ("r", 3), 1, &mine).await;
    assert!(
        matches!(refused, Reserved::Refused { retry_after, .. } if retry_after == Duration::from_secs(WINDOW - 100))
    );
}

/// Each unit has a limit of its own, and what has none is not limited.
pub async fn counts_each_unit_alone(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await;
    let ceiling = Ceiling { money: Some(5), tool_calls: Some(1), ..Ceiling::default() };
    let allowances = vec![Allowance { ceiling, ..allowance(Holder::User, 0) }];
    let ask = async |index, amounts| {
        let reservation = Reservation { run: run("r"), index, amounts, allowances: allowances.clone() };
        subject.backend.budgets.reserve(&ada, reservation).await.expect("the accounts answer")
    };
    let much = Amounts { tokens: u64::MAX / 4, money: 5, bytes: 9, millis: 9, tool_calls: 0 };
    assert_eq!(ask(1, much).await, Reserved::Granted);
    let refused = ask(2, Amounts { money: 1, ..Amounts::default() }).await;
    assert!(matches!(refused, Reserved::Refused { unit: Unit::Money, limit: 5, .. }), "{refused:?}");
    assert_eq!(ask(3, Amounts { tool_calls: 1, ..Amounts::default() }).await, Reserved::Granted);
    let refused = ask(4, Amounts { tool_calls: 1, ..Amounts::default() }).await;
    assert!(matches!(refused, Reserved::Refused { unit: Unit::ToolCalls, limit: 1, .. }), "{refused:?}");
    let expected = Amounts { tool_calls: 1, ..much };
    assert_eq!(balance(&subject, &ada, Holder::User).await.reserved, expected);
}

/// The same call reserves once, however often it asks.
pub async fn the_same_call_reserves_once(subject: Subject) {
    let ada = subject.ada();
    let mine = [allowance(Holder::User, 10)];
    subject.start(&ada, "t", "r").await;
    subject.start(&ada, "t", "another").await;
    for _ in 0..3 {
        assert_eq!(reserve(&subject, &ada, ("r", 1), 6, &mine).await, Reserved::Granted);
    }
    assert_eq!(of_user(&subject, &ada).await, (0, 6));
    let refused = reserve(&subject, &ada, ("another", 1), 6, &mine).await;
    assert!(matches!(refused, Reserved::Refused { .. }), "the call of another run is another call");
}

/// What a call cost takes the place of what it had reserved, in the write that says so.
pub async fn settles_with_what_a_call_cost(subject: Subject) {
    let ada = subject.ada();
    let both = [allowance(Holder::User, 100), allowance(Holder::Tenant, 100)];
    let mut writer = subject.start(&ada, "t", "r").await;
    for index in [1, 2] {
        assert_eq!(reserve(&subject, &ada, ("r", index), 30, &both).await, Reserved::Granted);
    }
    settle(&mut writer, 1, 7).await;
    assert_eq!((of_user(&subject, &ada).await, of_tenant(&subject, &ada).await), ((7, 30), (7, 30)));
    settle(&mut writer, 2, 50).await;
    assert_eq!(of_user(&subject, &ada).await, (57, 0), "more than was reserved is spent all the same");
    settle(&mut writer, 3, 1).await;
    assert_eq!(of_user(&subject, &ada).await, (58, 0), "what was not reserved is spent as well");
}

/// A refused append spends nothing.
pub async fn spends_nothing_with_a_refused_append(subject: Subject) {
    let ada = subject.ada();
    let stale = subject.start(&ada, "t", "r").await;
    let mine = [allowance(Holder::User, 100)];
    assert_eq!(reserve(&subject, &ada, ("r", 1), 30, &mine).await, Reserved::Granted);
    subject.pass(LEASE + 1);
    assert_eq!(subject.claim("other", 9).await.len(), 1);
    let spent = vec![Spent { index: 1, amounts: tokens(30) }];
    let refused = stale.send(Append { spent, ..stale.append(Vec::new(), None) }).await;
    assert!(refused.is_err(), "a stale lease was taken");
    assert_eq!(of_user(&subject, &ada).await, (0, 30));
}

/// The end of a run gives back what it has reserved and not settled, however it ends.
pub async fn gives_back_what_was_not_settled(subject: Subject) {
    let ada = subject.ada();
    let both = [allowance(Holder::User, 10), allowance(Holder::Tenant, 10)];
    for end in ["well", "stopped"] {
        let mut writer = subject.start(&ada, "t", end).await;
        assert_eq!(reserve(&subject, &ada, (end, 1), 10, &both).await, Reserved::Granted, "{end}");
        if end == "well" {
            writer.end().await
        } else {
            writer.obey(stop("enough")).await
        }
        assert_eq!((of_user(&subject, &ada).await, of_tenant(&subject, &ada).await), ((0, 0), (0, 0)), "{end}");
    }
}

/// A run may reserve before it is written for the first time; its end gives that back as well.
pub async fn reserves_for_a_run_that_is_not_written_yet(subject: Subject) {
    let ada = subject.ada();
    let mine = [allowance(Holder::User, 10)];
    assert_eq!(reserve(&subject, &ada, ("r", 1), 10, &mine).await, Reserved::Granted);
    assert_eq!(of_user(&subject, &ada).await, (0, 10));
    subject.start(&ada, "t", "r").await.end().await;
    assert_eq!(of_user(&subject, &ada).await, (0, 0));
}

/// An ended run reserves nothing: nobody would give it back.
pub async fn refuses_to_reserve_for_an_ended_run(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await.end().await;
    let (amounts, allowances) = (tokens(1), vec![allowance(Holder::User, 10)]);
    let wish = Reservation { run: run("r"), index: 1, amounts, allowances };
    let refused = subject.backend.budgets.reserve(&ada, wish).await;
    assert!(matches!(refused, Err(crate::Error::RunEnded { .. })), "{refused:?}");
    assert_eq!(of_user(&subject, &ada).await, (0, 0));
}

/// A run that is parked or taken over keeps what it has reserved.
pub async fn keeps_a_reservation_across_workers(subject: Subject) {
    let ada = subject.ada();
    let mine = [allowance(Holder::User, 10)];
    subject.start(&ada, "t", "r").await;
    assert_eq!(reserve(&subject, &ada, ("r", 1), 10, &mine).await, Reserved::Granted);
    subject.pass(LEASE + 1);
    let (mut writer, _) = subject.claim_one("other").await;
    assert_eq!(of_user(&subject, &ada).await, (0, 10));
    settle(&mut writer, 1, 4).await;
    writer.end().await;
    assert_eq!(of_user(&subject, &ada).await, (4, 0));
}

/// A window begins with its first use, and the next one begins afresh.
pub async fn begins_a_window_with_its_first_use(subject: Subject) {
    let ada = subject.ada();
    let mine = [allowance(Holder::User, 10)];
    let mut writer = subject.start(&ada, "t", "r").await;
    assert_eq!(balance(&subject, &ada, Holder::User).await, Balance::default());
    subject.pass(50);
    assert_eq!(reserve(&subject, &ada, ("r", 1), 10, &mine).await, Reserved::Granted);
    let until = Some(subject.now().plus(Duration::from_secs(WINDOW)));
    settle(&mut writer, 1, 10).await;
    assert_eq!(balance(&subject, &ada, Holder::User).await, Balance { spent: tokens(10), until, ..Balance::default() });
    subject.pass(WINDOW - 1);
    assert!(matches!(reserve(&subject, &ada, ("r", 2), 1, &mine).await, Reserved::Refused { .. }));
    subject.pass(1);
    assert_eq!(balance(&subject, &ada, Holder::User).await, Balance::default(), "the window has ended");
    assert_eq!(reserve(&subject, &ada, ("r", 2), 10, &mine).await, Reserved::Granted);
}

/// A call that goes on when the window ends still holds what it has reserved in the next one.
pub async fn carries_a_reservation_into_the_next_window(subject: Subject) {
    let ada = subject.ada();
    let mine = [allowance(Holder::User, 10)];
    let mut writer = subject.start(&ada, "t", "r").await;
    assert_eq!(reserve(&subject, &ada, ("r", 1), 6, &mine).await, Reserved::Granted);
    subject.pass(WINDOW);
    assert!(matches!(reserve(&subject, &ada, ("r", 2), 5, &mine).await, Reserved::Refused { .. }));
    assert_eq!(reserve(&subject, &ada, ("r", 2), 4, &mine).await, Reserved::Granted);
    settle(&mut writer, 1, 6).await;
    assert_eq!(of_user(&subject, &ada).await, (6, 4), "it is spent in the window in which it is settled");
}

/// All allowances are kept or nothing is reserved.
pub async fn reserves_of_all_accounts_or_of_none(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await;
    for order in [[Holder::Tenant, Holder::User], [Holder::User, Holder::Tenant]] {
        let allowances = order.map(|holder| allowance(holder, if holder == Holder::User { 5 } else { 50 }));
        let refused = reserve(&subject, &ada, ("r", 1), 6, &allowances).await;
        assert!(matches!(refused, Reserved::Refused { holder: Holder::User, limit: 5, .. }), "{refused:?}");
        assert_eq!((of_user(&subject, &ada).await, of_tenant(&subject, &ada).await), ((0, 0), (0, 0)));
    }
}

/// Two callers never share the last of anything.
pub async fn grants_no_more_under_concurrency(subject: Subject) {
    let users = ["ada", "bob", "eve"];
    for name in users {
        subject.start(&subject.user(name), "t", "r").await;
    }
    let mut tasks = JoinSet::new();
    for n in 0..30 {
        let subject = subject.clone();
        let (owner, shared) = (subject.user(users[n % 3]), [allowance(Holder::Tenant, 10)]);
        tasks.spawn(async move { reserve(&subject, &owner, ("r", n as u32), 1, &shared).await });
    }
    let granted = tasks.join_all().await.into_iter().filter(|reserved| *reserved == Reserved::Granted).count();
    assert_eq!((granted, of_tenant(&subject, &subject.ada()).await), (10, (0, 10)));
}
