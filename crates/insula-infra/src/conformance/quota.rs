//! Rules of counting.

use std::time::Duration;

use insula_context::UserScope;
use tokio::task::JoinSet;

use super::Subject;
use crate::{RateLimit, Taken};

fn limit(name: &str, max: u64) -> RateLimit {
    RateLimit { name: name.to_owned(), max, window: Duration::from_secs(60) }
}

async fn take(subject: &Subject, scope: &UserScope, limit: &RateLimit, amount: u64) -> Taken {
    subject.backend.quota.take(scope, limit, amount).await.expect("the quota answers")
}

/// What one user takes is not missing for another.
pub async fn counts_for_each_user_alone(subject: Subject) {
    assert_eq!(take(&subject, &subject.ada(), &limit("l", 1), 1).await, Taken::Granted { left: 0 });
    for other in subject.others() {
        assert_eq!(take(&subject, &other, &limit("l", 1), 1).await, Taken::Granted { left: 0 }, "{other}");
    }
}

/// As many as there are, and then a time to come back.
pub async fn grants_what_is_left_and_no_more(subject: Subject) {
    let (ada, five) = (subject.ada(), limit("l", 5));
    assert_eq!(take(&subject, &ada, &five, 2).await, Taken::Granted { left: 3 });
    subject.pass(20);
    assert_eq!(take(&subject, &ada, &five, 3).await, Taken::Granted { left: 0 });
    let retry_after = Duration::from_secs(40);
    assert_eq!(take(&subject, &ada, &five, 1).await, Taken::Refused { retry_after });
}

/// A refusal counts nothing: less is still to be had.
pub async fn counts_nothing_for_a_refusal(subject: Subject) {
    let (ada, five) = (subject.ada(), limit("l", 5));
    take(&subject, &ada, &five, 3).await;
    assert!(matches!(take(&subject, &ada, &five, 3).await, Taken::Refused { .. }));
    assert_eq!(take(&subject, &ada, &five, 2).await, Taken::Granted { left: 0 });
}

/// When a window has passed, the next begins with its first use.
pub async fn begins_a_window_with_its_first_use(subject: Subject) {
    let (ada, one) = (subject.ada(), limit("l", 1));
    take(&subject, &ada, &one, 1).await;
    subject.pass(100);
    assert_eq!(take(&subject, &ada, &one, 1).await, Taken::Granted { left: 0 });
    subject.pass(59);
    assert_eq!(take(&subject, &ada, &one, 1).await, Taken::Refused { retry_after: Duration::from_secs(1) });
    subject.pass(1);
    assert_eq!(take(&subject, &ada, &one, 1).await, Taken::Granted { left: 0 });
}

/// More than a whole window has is never granted.
pub async fn refuses_more_than_a_window_has(subject: Subject) {
    for amount in [6, u64::MAX] {
        let taken = take(&subject, &subject.ada(), &limit("l", 5), amount).await;
        assert!(matches!(taken, Taken::Refused { .. }), "{amount}: {taken:?}");
    }
    assert_eq!(take(&subject, &subject.ada(), &limit("l", 5), 5).await, Taken::Granted { left: 0 });
}

/// Limits of two names count by themselves.
pub async fn counts_each_name_alone(subject: Subject) {
    for name in ["search", "mail"] {
        assert_eq!(take(&subject, &subject.ada(), &limit(name, 1), 1).await, Taken::Granted { left: 0 }, "{name}");
    }
}

/// Two callers never share the last one.
pub async fn grants_no_more_under_concurrency(subject: Subject) {
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let subject = subject.clone();
        tasks.spawn(async move { take(&subject, &subject.ada(), &limit("l", 25), 1).await });
    }
    let taken = tasks.join_all().await;
    assert_eq!(taken.iter().filter(|taken| matches!(taken, Taken::Granted { .. })).count(), 25);
}
