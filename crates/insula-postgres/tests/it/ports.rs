//! What several processes on one database must not do to one another, and what the database refuses them.

use std::{sync::Arc, time::Duration};

use insula_context::{RunId, ScopeIssuer, Timestamp, UserScope};
use insula_infra::{
    Allowance, Amounts, Backend, Ceiling, Holder, NewAuditEntry, RateLimit, RawJson, Reservation, Reserved, Taken,
    Verified, audit, conformance::ManualClock,
};
use insula_test_services::Postgres;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;

use crate::support;

/// Two processes.
async fn two(database: &Postgres) -> [Backend; 2] {
    let clock = Arc::new(ManualClock::new());
    let one = support::at(database).clock(clock.clone()).connect().await.expect("connects");
    let other = support::at(database).clock(clock).connect().await.expect("connects");
    [one.into_backend(), other.into_backend()]
}

#[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
fn user(name: &str) -> UserScope {
    ScopeIssuer::new().issue("acme", name).expect("valid")
}

fn raw(json: &str) -> RawJson {
    RawValue::from_string(json.to_owned()).expect("JSON").into()
}

async fn as_role(database: &Postgres, role: &str) -> PgConnection {
    PgConnection::connect(&support::as_role(database, role)).await.expect("connects")
}

/// One token of 30 for each of 60 calls of five users of one tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_tenants_account_and_never_the_last_of_it() {
    let database = support::database().await;
    let processes = two(&database).await;
    let mut calls = JoinSet::new();
    for n in 0..60 {
        let budgets = Arc::clone(&processes[n % 2].budgets);
        calls.spawn(async move { budgets.reserve(&user(&format!("u{}", n % 5)), wish(n)).await.expect("an answer") });
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| **answer == Reserved::Granted).count(), 30);
    for process in &processes {
        let balance = process.budgets.balance(&user("u0"), Holder::Tenant).await.expect("an answer");
        assert_eq!(balance.reserved.tokens, 30);
    }
}

fn wish(n: usize) -> Reservation {
    let (ceiling, window) = (Ceiling { tokens: Some(30), ..Ceiling::default() }, Duration::from_secs(60));
    let allowance = |holder| Allowance { holder, ceiling, window };
    Reservation {
        run: RunId::new(format!("r-{n}")).expect("valid"),
        index: 0,
        amounts: Amounts { tokens: 1, ..Amounts::default() },
        allowances: vec![allowance(Holder::User), allowance(Holder::Tenant)],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_never_share_the_last_of_a_quota() {
    let database = support::database().await;
    let processes = two(&database).await;
    let mut calls = JoinSet::new();
    for n in 0..40 {
        let quota = Arc::clone(&processes[n % 2].quota);
        let limit = RateLimit { name: "tool:search".to_owned(), max: 25, window: Duration::from_secs(60) };
        calls.spawn(async move { quota.take(&user("ada"), &limit, 1).await.expect("an answer") });
    }
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Taken::Granted { .. })).count(), 25);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_write_one_chain_of_an_audit_log() {
    let database = support::database().await;
    let processes = two(&database).await;
    let mut entries = JoinSet::new();
    for n in 0..40 {
        let log = Arc::clone(&processes[n % 2].audit);
        let at = Timestamp::from_micros(i64::try_from(n).expect("small"));
        // What cannot be stored is not hashed either.
        let entry = NewAuditEntry { at, action: "let\0in".to_owned(), detail: raw("{}") };
        entries.spawn(async move { log.add_audit(&user("ada"), entry).await.expect("is written") });
    }
    entries.join_all().await;
    let verified = audit::verify(&*processes[0].audit, &user("ada")).await.expect("an answer");
    assert_eq!(verified, Verified { entries: 40, broken: None });
}

/// Also not with the owner entered, that is: not through a hole in our own code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_an_audit_log_cannot_be_changed_by_the_role_of_processes() {
    let database = support::database().await;
    let [process, _] = two(&database).await;
    let entry = NewAuditEntry { at: Timestamp::from_micros(1), action: "in".to_owned(), detail: raw("{}") };
    process.audit.add_audit(&user("ada"), entry).await.expect("is written");
    let mut connection = as_role(&database, "insula_app").await;
    for change in ["UPDATE insula.audit SET action = 'out'", "DELETE FROM insula.audit", "TRUNCATE insula.audit"] {
        let statements = format!("SELECT set_config('insula.owners', '{{1,2,3}}', false); {change}");
        let refused = (&mut connection).execute(AssertSqlSafe(statements)).await.expect_err(change);
        let code = refused.as_database_error().and_then(|error| error.code().map(|code| code.into_owned()));
        assert_eq!(code.as_deref(), Some("42501"), "{change}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_are_everybodys_and_change_for_one() {
    let database = support::database().await;
    let [process, other] = two(&database).await;
    process.plans.put_plan(&user("bob"), raw("1")).await.expect("is written");
    process.plans.put_plan(&user("ada"), raw("2")).await.expect("is written");
    process.plans.put_plan(&user("ada"), raw("3")).await.expect("is written");
    let plans = other.plans.plans().await.expect("an answer");
    let plans: Vec<_> = plans.iter().map(|(scope, plan)| (scope.user().as_str(), plan.get())).collect();
    assert_eq!(plans, [("ada", "3"), ("bob", "1")]);
    assert!(other.plans.delete_plan(&user("ada")).await.expect("an answer"));
    assert!(!process.plans.delete_plan(&user("ada")).await.expect("an answer"));
    assert!(!process.plans.delete_plan(&user("nobody")).await.expect("an answer"));
    assert_eq!(process.plans.plans().await.expect("an answer").len(), 1);
}
