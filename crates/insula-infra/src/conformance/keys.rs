//! Rules of keys: found by their id, shown to and revoked by their owner, and worthless for good once revoked.

use std::time::Duration;

use insula_context::UserScope;
use tokio::task::JoinSet;

use super::Subject;
use crate::{Error, KeyRecord, PageRequest};

fn key(subject: &Subject, scope: &UserScope, id: &str) -> KeyRecord {
    KeyRecord {
        id: id.to_owned(),
        scope: scope.clone(),
        name: format!("key {id}"),
        hash: [7; 32],
        grants: vec!["read".to_owned(), "run".to_owned()],
        created_at: subject.now(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    }
}

async fn add(subject: &Subject, scope: &UserScope, id: &str) -> KeyRecord {
    let key = key(subject, scope, id);
    subject.backend.keys.add_key(key.clone()).await.expect("a key is added");
    key
}

async fn read(subject: &Subject, id: &str) -> Option<KeyRecord> {
    subject.backend.keys.key(id).await.expect("the store answers")
}

/// The ids of one page, and where to go on.
async fn page(
    subject: &Subject,
    owner: Option<&UserScope>,
    cursor: Option<String>,
    limit: usize,
) -> (Vec<String>, Option<String>) {
    let page = subject.backend.keys.keys(owner, &PageRequest { cursor, limit }).await.expect("keys are listed");
    (page.items.into_iter().map(|key| key.id).collect(), page.next)
}

/// A user's list has the user's keys only.
pub async fn lists_the_keys_of_their_owner_only(subject: Subject) {
    add(&subject, &subject.ada(), "hers").await;
    for other in subject.others() {
        let (found, _) = page(&subject, Some(&other), None, 9).await;
        assert!(found.is_empty(), "{other} was listed {found:?}");
    }
}

/// Nobody revokes another user's key, nor learns that there is one.
pub async fn revokes_the_key_of_its_owner_only(subject: Subject) {
    add(&subject, &subject.ada(), "hers").await;
    for other in subject.others() {
        let found = subject.backend.keys.revoke_key(Some(&other), "hers", subject.now()).await;
        assert_eq!(found.expect("the store answers"), None, "{other} revoked a key");
    }
    assert_eq!(read(&subject, "hers").await.expect("the key is there").revoked_at, None);
}

/// Everything that a key says comes back, whosever it is and whatever it is worth.
pub async fn reads_a_key_as_it_was_made(subject: Subject) {
    let plain = add(&subject, &subject.ada(), "plain").await;
    let at = |seconds| Some(subject.now().plus(Duration::from_secs(seconds)));
    let (expires_at, last_used_at, revoked_at) = (at(1), at(2), at(3));
    let mut full = KeyRecord { expires_at, last_used_at, revoked_at, ..key(&subject, &subject.user("bob"), "full") };
    (full.hash, full.grants) = (std::array::from_fn(|n| n as u8), Vec::new());
    subject.backend.keys.add_key(full.clone()).await.expect("a key is added");
    assert_eq!(read(&subject, "plain").await, Some(plain));
    assert_eq!(read(&subject, "full").await, Some(full));
    assert_eq!((read(&subject, "absent").await, read(&subject, "").await), (None, None));
}

/// An id is one key's, whoever asks for it, and also when it is worth nothing any more.
pub async fn refuses_a_second_key_of_the_same_id(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    add(&subject, &ada, "k").await;
    subject.backend.keys.revoke_key(None, "k", subject.now()).await.expect("the store answers");
    for scope in [&ada, &bob] {
        let refused = subject.backend.keys.add_key(key(&subject, scope, "k")).await;
        assert!(matches!(&refused, Err(Error::KeyExists { key }) if key == "k"), "{refused:?}");
    }
    let found = read(&subject, "k").await.expect("the first one is there");
    assert_eq!((found.scope, found.revoked_at), (ada, Some(subject.now())));
}

/// Of many who want an id at once, one has it.
pub async fn makes_one_key_of_an_id_under_concurrency(subject: Subject) {
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        let subject = subject.clone();
        let key = key(&subject, &subject.user(&format!("user-{n}")), "k");
        tasks.spawn(async move { subject.backend.keys.add_key(key).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|made| *made).count(), 1);
    assert_eq!(page(&subject, None, None, 99).await.0, ["k"]);
}

/// Keys are listed newest first in pages, of one user or of all; what is no cursor is refused.
pub async fn pages_through_keys_newest_first(subject: Subject) {
    let (ada, bob) = (subject.ada(), subject.user("bob"));
    for (scope, id) in [(&ada, "a"), (&bob, "b"), (&ada, "c"), (&ada, "d")] {
        add(&subject, scope, id).await;
    }
    subject.backend.keys.revoke_key(None, "c", subject.now()).await.expect("the store answers");
    let (first, next) = page(&subject, Some(&ada), None, 2).await;
    let (second, end) = page(&subject, Some(&ada), next, 2).await;
    assert_eq!((first, second, end), (vec!["d".to_owned(), "c".to_owned()], vec!["a".to_owned()], None));
    let (first, next) = page(&subject, None, None, 3).await;
    assert_eq!(
        (first, page(&subject, None, next, 3).await.0),
        (["d", "c", "b"].map(str::to_owned).into(), vec!["a".into()])
    );
    let request = PageRequest { cursor: Some("nonsense".to_owned()), limit: 1 };
    let refused = subject.backend.keys.keys(None, &request).await;
    assert!(matches!(refused, Err(Error::InvalidCursor { .. })), "{refused:?}");
}

/// The last use is the latest one that was told of, in whatever order.
pub async fn moves_the_last_use_forward_only(subject: Subject) {
    add(&subject, &subject.ada(), "k").await;
    let (earlier, later) = (subject.now(), subject.now().plus(Duration::from_secs(60)));
    for (at, expected) in [(earlier, earlier), (later, later), (earlier, later)] {
        subject.backend.keys.key_used("k", at).await.expect("a use is noted");
        assert_eq!(read(&subject, "k").await.expect("the key is there").last_used_at, Some(expected));
    }
    subject.backend.keys.key_used("absent", later).await.expect("nothing happens");
    assert_eq!(read(&subject, "absent").await, None);
}

/// A key is revoked by its owner or for everybody, the first time counts, and nothing makes it worth anything again.
pub async fn keeps_a_revoked_key_revoked(subject: Subject) {
    let ada = subject.ada();
    let made = add(&subject, &ada, "k").await;
    let first = subject.now();
    let revoked = KeyRecord { revoked_at: Some(first), ..made };
    for owner in [Some(&ada), None] {
        let found = subject.backend.keys.revoke_key(owner, "k", subject.now()).await.expect("the store answers");
        assert_eq!(found, Some(revoked.clone()));
        subject.pass(60);
    }
    subject.backend.keys.key_used("k", subject.now()).await.expect("a use is noted");
    assert_eq!(read(&subject, "k").await.expect("the key is there").revoked_at, Some(first));
    let absent = subject.backend.keys.revoke_key(None, "absent", first).await.expect("the store answers");
    assert_eq!(absent, None);
    add(&subject, &ada, "other").await;
    let other = subject.backend.keys.revoke_key(None, "other", first).await.expect("the store answers");
    assert_eq!(other.and_then(|key| key.revoked_at), Some(first));
}

/// Deleting a user leaves the user's keys: who may come in is for somebody else to say.
pub async fn keeps_the_keys_of_a_deleted_user(subject: Subject) {
    let ada = subject.ada();
    let made = add(&subject, &ada, "k").await;
    subject.start(&ada, "t", "r").await;
    subject.backend.runs.delete_user(&ada).await.expect("the store answers");
    assert_eq!(read(&subject, "k").await, Some(made));
    assert_eq!(page(&subject, Some(&ada), None, 9).await.0, ["k"]);
}
