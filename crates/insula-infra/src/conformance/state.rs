//! Rules of what agents remember.

use insula_context::UserScope;
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Subject,
    story::{raw, run},
    subject::thread,
};
use crate::{Error, StateKey, StateSpace};

fn key(name: &str) -> StateKey {
    StateKey { space: StateSpace::User, name: name.to_owned() }
}

async fn put(subject: &Subject, scope: &UserScope, key: &StateKey, value: u64) -> u64 {
    subject.backend.state.put(scope, key, raw(&json!(value))).await.expect("a value is put")
}

async fn swap(
    subject: &Subject,
    scope: &UserScope,
    key: &StateKey,
    expected: Option<u64>,
    value: u64,
) -> Result<u64, Error> {
    subject.backend.state.compare_and_set(scope, key, expected, raw(&json!(value))).await
}

/// The value and its version.
async fn get(subject: &Subject, scope: &UserScope, key: &StateKey) -> Option<(u64, u64)> {
    let found = subject.backend.state.get(scope, key).await.expect("the store answers")?;
    Some((serde_json::from_str(found.value.get()).expect("a number"), found.version))
}

/// A user reads the own value of a key and nobody else's, in every space.
pub async fn hides_values_from_other_users(subject: Subject) {
    for space in spaces() {
        let key = StateKey { space, name: "k".to_owned() };
        put(&subject, &subject.ada(), &key, 1).await;
        for other in subject.others() {
            assert_eq!(get(&subject, &other, &key).await, None, "{other} read {key:?}");
        }
    }
}

/// Writing a key leaves everyone else's value as it is.
pub async fn writes_the_value_of_its_owner_only(subject: Subject) {
    put(&subject, &subject.ada(), &key("k"), 1).await;
    for other in subject.others() {
        assert_eq!(put(&subject, &other, &key("k"), 2).await, 1, "{other} wrote a first value");
    }
    assert_eq!(get(&subject, &subject.ada(), &key("k")).await, Some((1, 1)));
}

/// Removing a key leaves everyone else's value where it is.
pub async fn deletes_the_value_of_its_owner_only(subject: Subject) {
    put(&subject, &subject.ada(), &key("k"), 1).await;
    for other in subject.others() {
        let deleted = subject.backend.state.delete(&other, &key("k")).await.expect("the store answers");
        assert!(!deleted, "{other} deleted a value");
    }
    assert_eq!(get(&subject, &subject.ada(), &key("k")).await, Some((1, 1)));
}

/// Somebody else's version is not the one to compare with.
pub async fn compares_with_the_version_of_its_owner_only(subject: Subject) {
    put(&subject, &subject.ada(), &key("k"), 1).await;
    for other in subject.others() {
        let refused = swap(&subject, &other, &key("k"), Some(1), 2).await;
        assert!(matches!(refused, Err(Error::Conflict { found: None, .. })), "{other}: {refused:?}");
    }
}

/// Every write adds one to the version.
pub async fn counts_writes_in_the_version(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(get(&subject, &ada, &key("k")).await, None);
    for n in 1..=5 {
        assert_eq!(put(&subject, &ada, &key("k"), 10 * n).await, n);
        assert_eq!(get(&subject, &ada, &key("k")).await, Some((10 * n, n)));
    }
    assert_eq!(swap(&subject, &ada, &key("k"), Some(5), 60).await.expect("the version is right"), 6);
}

/// A write on a version that has passed is refused, names what is there and changes nothing.
pub async fn refuses_a_write_on_a_version_that_has_passed(subject: Subject) {
    let ada = subject.ada();
    put(&subject, &ada, &key("k"), 1).await;
    put(&subject, &ada, &key("k"), 2).await;
    for expected in [None, Some(1), Some(3)] {
        match swap(&subject, &ada, &key("k"), expected, 9).await {
            Err(Error::Conflict { key, expected: e, found }) => {
                assert_eq!((key.as_str(), e, found), ("k", expected, Some(2)));
            }
            other => panic!("a stale write was taken: {other:?}"),
        }
    }
    assert_eq!(get(&subject, &ada, &key("k")).await, Some((2, 2)));
}

/// "Only if it is absent" is one of the conditions.
pub async fn creates_only_what_is_absent(subject: Subject) {
    let ada = subject.ada();
    assert_eq!(swap(&subject, &ada, &key("k"), None, 1).await.expect("it is absent"), 1);
    assert!(matches!(swap(&subject, &ada, &key("k"), None, 2).await, Err(Error::Conflict { .. })));
    let absent = swap(&subject, &ada, &key("other"), Some(1), 2).await;
    assert!(matches!(absent, Err(Error::Conflict { found: None, .. })), "{absent:?}");
    assert_eq!(get(&subject, &ada, &key("other")).await, None);
}

/// A deleted value is absent, and the second deletion says so.
pub async fn deletes_a_value_once(subject: Subject) {
    let ada = subject.ada();
    put(&subject, &ada, &key("k"), 1).await;
    let delete = async || subject.backend.state.delete(&ada, &key("k")).await.expect("the store answers");
    assert!(delete().await);
    assert!(!delete().await);
    assert_eq!(get(&subject, &ada, &key("k")).await, None);
    assert!(swap(&subject, &ada, &key("k"), None, 2).await.is_ok(), "a deleted value is absent");
}

fn spaces() -> [StateSpace; 7] {
    // The same word in every place where a word can stand.
    [
        StateSpace::User,
        StateSpace::Run(run("same")),
        StateSpace::Thread(thread("same")),
        StateSpace::Agent("same".to_owned()),
        StateSpace::Run(run("other")),
        StateSpace::Thread(thread("other")),
        StateSpace::Agent("other".to_owned()),
    ]
}

/// The same name in two spaces is two values.
pub async fn keeps_spaces_apart(subject: Subject) {
    let ada = subject.ada();
    let keys = spaces().map(|space| StateKey { space, name: "k".to_owned() });
    for (n, key) in (0..).zip(&keys) {
        assert_eq!(put(&subject, &ada, key, n).await, 1, "{key:?}");
    }
    for (n, key) in (0..).zip(&keys) {
        assert_eq!(get(&subject, &ada, key).await, Some((n, 1)), "{key:?}");
    }
}

/// Of many who write on the same version, one succeeds.
pub async fn lets_one_of_many_writers_win(subject: Subject) {
    let ada = subject.ada();
    put(&subject, &ada, &key("k"), 0).await;
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let (subject, ada) = (subject.clone(), ada.clone());
        tasks.spawn(async move { swap(&subject, &ada, &key("k"), Some(1), n).await.is_ok() });
    }
    let won = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!((won, get(&subject, &ada, &key("k")).await.map(|(_, version)| version)), (1, Some(2)));
}
