//! Rules of audit logs: numbers without gaps, and a chain that anybody can check.

use insula_context::UserScope;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Subject, story::raw, subject::scope};
use crate::{AuditRecord, NewAuditEntry, Verified, audit::verify};

fn entry(subject: &Subject, n: u64) -> NewAuditEntry {
    NewAuditEntry { at: subject.now(), action: "key.made".to_owned(), detail: raw(&json!({"n": n})) }
}

async fn add(subject: &Subject, scope: &UserScope, n: u64) -> AuditRecord {
    subject.backend.audit.add_audit(scope, entry(subject, n)).await.expect("an entry is added")
}

async fn read(subject: &Subject, scope: &UserScope, after: u64, limit: usize) -> Vec<AuditRecord> {
    subject.backend.audit.audit(scope, after, limit).await.expect("the log answers")
}

async fn verified(subject: &Subject, scope: &UserScope) -> Verified {
    verify(&*subject.backend.audit, scope).await.expect("the log answers")
}

/// Another user's audit log is as empty as one that never was.
pub async fn hides_audit_entries_from_other_users(subject: Subject) {
    add(&subject, &subject.ada(), 1).await;
    for other in subject.others() {
        let found = read(&subject, &other, 0, 9).await;
        assert!(found.is_empty(), "{other} read {found:?}");
    }
}

/// Each user's log begins with 1 and with nothing before it, and its hashes are that user's.
pub async fn chains_the_entries_of_each_user_alone(subject: Subject) {
    let hers = add(&subject, &subject.ada(), 1).await;
    for other in subject.others() {
        let first = add(&subject, &other, 1).await;
        assert_eq!(first.number, 1, "{other}");
        assert_eq!(first.hash, AuditRecord::chained("", &other, 1, &entry(&subject, 1)), "{other}");
        assert_ne!(first.hash, hers.hash, "{other}");
    }
}

/// Entries are numbered from 1 on, come back as they were added, and each one's hash covers the one before it.
pub async fn chains_entries_without_gaps(subject: Subject) {
    let ada = subject.ada();
    let mut before = String::new();
    for n in 1..=5 {
        let added = add(&subject, &ada, n).await;
        assert_eq!((added.number, added.at, &*added.action), (n, subject.now(), "key.made"));
        assert_eq!(added.hash, AuditRecord::chained(&before, &ada, n, &entry(&subject, n)));
        before = added.hash;
        let found = read(&subject, &ada, n - 1, 9).await;
        assert_eq!((found.len(), found[0].number, &found[0].hash), (1, n, &before));
        assert_eq!((found[0].at, found[0].detail.get()), (subject.now(), format!("{{\"n\":{n}}}").as_str()));
        subject.pass(1);
    }
    assert_eq!(verified(&subject, &ada).await, Verified { entries: 5, broken: None });
}

/// A reader goes on behind the last number that it has, and gets no more than it asks for.
pub async fn reads_entries_on_from_a_number(subject: Subject) {
    let ada = subject.ada();
    for n in 1..=5 {
        add(&subject, &ada, n).await;
    }
    for (after, limit, expected) in [(0, 2, vec![1, 2]), (2, 9, vec![3, 4, 5]), (5, 9, vec![]), (u64::MAX, 9, vec![])] {
        let found: Vec<_> = read(&subject, &ada, after, limit).await.iter().map(|entry| entry.number).collect();
        assert_eq!(found, expected, "after {after}, at most {limit}");
    }
}

/// Many who write at once make one chain.
pub async fn keeps_the_chain_under_concurrency(subject: Subject) {
    let ada = subject.ada();
    let mut tasks = JoinSet::new();
    for n in 0..32 {
        let subject = subject.clone();
        tasks.spawn(async move { add(&subject, &subject.ada(), n).await.number });
    }
    let mut numbers = tasks.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=32).collect::<Vec<_>>());
    assert_eq!(verified(&subject, &ada).await, Verified { entries: 32, broken: None });
}

/// Whose logs there are is said in order and in pages: each once, and nobody else.
pub async fn says_whose_logs_there_are(subject: Subject) {
    let all = [scope("ac", "meada"), subject.ada(), subject.user("bob"), scope("globex", "ada")];
    for owner in [&all[2], &all[0], &all[3], &all[1], &all[2]] {
        add(&subject, owner, 1).await;
    }
    subject.start(&subject.user("carol"), "t", "r").await;
    let audit = &subject.backend.audit;
    assert_eq!(audit.audited(None, 9).await.expect("the log answers"), all);
    assert_eq!(audit.audited(None, 2).await.expect("the log answers"), all[..2]);
    assert_eq!(audit.audited(Some(&all[1]), 9).await.expect("the log answers"), all[2..]);
    assert!(audit.audited(Some(&all[3]), 9).await.expect("the log answers").is_empty());
}

/// Deleting a user leaves the audit log, and the chain goes on.
pub async fn keeps_the_audit_log_of_a_deleted_user(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await;
    add(&subject, &ada, 1).await;
    subject.backend.runs.delete_user(&ada).await.expect("the store answers");
    assert_eq!(add(&subject, &ada, 2).await.number, 2);
    assert_eq!(verified(&subject, &ada).await, Verified { entries: 2, broken: None });
}
