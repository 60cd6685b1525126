//! What a server needs beside runs: there again when the file is opened again, and the same for all who have it open.

use std::{sync::Arc, time::Duration};

use insula_context::Timestamp;
use insula_infra::{
    Attempt, AuditLog, Backend, KeyRecord, NewAuditEntry, PageRequest, Verified, WebhookState, audit::verify,
    conformance::ManualClock,
};
use tempfile::TempDir;

use crate::support::{at, folder, header, raw, run, scope, whole};

const HOLD: Duration = Duration::from_secs(60);

fn open(folder: &TempDir, clock: &Arc<ManualClock>) -> Backend {
    at(folder).clock(Arc::clone(clock) as _).open().expect("opens").into_backend()
}

/// Ends a run that has a call.
async fn end_with_call(backend: &Backend, id: &str) {
    let mut append = whole(&header("ada", "t", id));
    append.create.as_mut().expect("a creation").0.webhook = Some(raw("{\"url\":1}"));
    backend.queue.append(append).await.expect("ends");
}

async fn due(backend: &Backend) -> Vec<String> {
    let due = backend.webhooks.due_webhooks(HOLD, 9).await.expect("answers");
    due.iter().map(|call| call.header.run.to_string()).collect()
}

async fn add(log: &dyn AuditLog, n: u64) -> u64 {
    let entry = NewAuditEntry { at: Timestamp::from_micros(5), action: "a".to_owned(), detail: raw(&n.to_string()) };
    log.add_audit(&scope("ada"), entry).await.expect("adds").number
}

#[tokio::test]
async fn a_reopened_file_knows_keys_audit_logs_calls_and_usage() {
    let (folder, ada, clock) = (folder(), scope("ada"), Arc::new(ManualClock::new()));
    let backend = open(&folder, &clock);
    let key = KeyRecord {
        id: "k".to_owned(),
        scope: ada.clone(),
        name: "laptop".to_owned(),
        hash: [9; 32],
        grants: vec!["run".to_owned()],
        created_at: Timestamp::from_micros(5),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    backend.keys.add_key(key.clone()).await.expect("adds");
    add(&*backend.audit, 1).await;
    for id in ["held", "again", "taken"] {
        end_with_call(&backend, id).await;
    }
    assert_eq!(due(&backend).await, ["held", "again", "taken"]);
    let again = Attempt::Again { at: Timestamp::from_micros(5), error: "refused".to_owned() };
    for (id, attempt) in [("again", again), ("taken", Attempt::Delivered)] {
        backend.webhooks.settle_webhook(&ada, &run(id), attempt).await.expect("settles");
    }
    drop(backend);

    let backend = open(&folder, &clock);
    assert_eq!(backend.keys.key("k").await.expect("reads"), Some(key));
    assert_eq!(add(&*backend.audit, 2).await, 2);
    assert_eq!(verify(&*backend.audit, &ada).await.expect("reads"), Verified { entries: 2, broken: None });
    assert_eq!(due(&backend).await, ["again"], "what a lost process has is held for it");
    clock.advance(HOLD);
    assert_eq!(due(&backend).await, ["held", "again"], "and no longer than it was said");
    let usage = backend.usage.usage(&ada, i64::MIN, i64::MAX).await.expect("reads");
    assert_eq!(usage.iter().map(|row| row.completed).sum::<u64>(), 3);
}

#[tokio::test]
async fn two_writers_on_one_file_count_chain_and_call_as_one() {
    let (folder, ada, clock) = (folder(), scope("ada"), Arc::new(ManualClock::new()));
    let both = [open(&folder, &clock), open(&folder, &clock)];
    for n in 0..20 {
        let one = &both[n % 2];
        end_with_call(one, &format!("r-{n}")).await;
        assert_eq!(add(&*one.audit, 7).await, n as u64 + 1);
    }
    for backend in &both {
        let usage = backend.usage.usage(&ada, i64::MIN, i64::MAX).await.expect("reads");
        assert_eq!((usage.len(), usage[0].completed), (1, 20));
        assert_eq!(verify(&*backend.audit, &ada).await.expect("reads").broken, None);
    }
    let (one, other) = tokio::join!(due(&both[0]), due(&both[1]));
    assert_eq!((one.len() + other.len(), due(&both[0]).await.len() + due(&both[1]).await.len()), (18, 2), "nine each");
    let page = PageRequest { cursor: None, limit: 99 };
    let calls = both[1].webhooks.webhooks(&ada, Some(WebhookState::Due), &page).await.expect("lists").items;
    assert_eq!(calls.len(), 20);
}

#[tokio::test]
async fn runs_of_one_group_are_counted_together_and_a_refused_one_is_not() {
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let ids = (0..300).map(|n| format!("r-{}", n % 290));
    let commits: Vec<_> = ids.map(|id| backend.queue.append(whole(&header("ada", "t", &id)))).collect();
    let mut ended = 0;
    for commit in commits {
        ended += u64::from(commit.await.is_ok());
    }
    let usage = backend.usage.usage(&scope("ada"), 0, 0).await.expect("reads");
    assert_eq!((ended, usage[0].completed, usage[0].took[0]), (290, 290, 290));
}
