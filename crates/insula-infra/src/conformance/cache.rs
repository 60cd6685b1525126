//! Rules of the cache.

use std::time::Duration;

use bytes::Bytes;
use insula_context::UserScope;
use tokio::task::JoinSet;

use super::{Subject, subject::soon};
use crate::Error;

async fn set(subject: &Subject, scope: &UserScope, key: &str, value: &'static str, ttl: Option<u64>) {
    let (value, ttl) = (Bytes::from_static(value.as_bytes()), ttl.map(Duration::from_secs));
    subject.cache().set(scope, key, value, ttl).await.expect("a value is set");
}

async fn get(subject: &Subject, scope: &UserScope, key: &str) -> Option<String> {
    let found = subject.cache().get(scope, key).await.expect("the cache answers")?;
    Some(String::from_utf8_lossy(&found).into_owned())
}

async fn add(subject: &Subject, scope: &UserScope, by: i64) -> i64 {
    subject.cache().increment(scope, "n", by).await.expect("a number is added to")
}

async fn push(subject: &Subject, scope: &UserScope, value: &'static str) -> u64 {
    subject.cache().push(scope, "list", Bytes::from_static(value.as_bytes())).await.expect("a list grows")
}

async fn range(subject: &Subject, scope: &UserScope, start: usize, count: usize) -> Vec<Bytes> {
    subject.cache().range(scope, "list", start, count).await.expect("the cache answers")
}

/// Two users' same key are two values.
pub async fn hides_values_from_other_users(subject: Subject) {
    set(&subject, &subject.ada(), "k", "hers", None).await;
    for other in subject.others() {
        assert_eq!(get(&subject, &other, "k").await, None, "{other} read a value");
    }
}

/// Setting a key leaves everyone else's value as it is.
pub async fn sets_the_value_of_its_owner_only(subject: Subject) {
    set(&subject, &subject.ada(), "k", "hers", None).await;
    for other in subject.others() {
        set(&subject, &other, "k", "theirs", None).await;
    }
    assert_eq!(get(&subject, &subject.ada(), "k").await.as_deref(), Some("hers"));
}

/// Removing a key leaves everyone else's value where it is.
pub async fn deletes_the_value_of_its_owner_only(subject: Subject) {
    set(&subject, &subject.ada(), "k", "hers", None).await;
    for other in subject.others() {
        assert!(!subject.cache().delete(&other, "k").await.expect("the cache answers"), "{other} deleted a value");
    }
    assert_eq!(get(&subject, &subject.ada(), "k").await.as_deref(), Some("hers"));
}

/// Clearing takes everything of its owner, and nothing of anybody else.
pub async fn clears_the_values_of_their_owner_only(subject: Subject) {
    let everybody = [[subject.ada()].as_slice(), &subject.others()].concat();
    for user in &everybody {
        set(&subject, user, "k", "v", None).await;
        push(&subject, user, "entry").await;
    }
    subject.cache().clear(&subject.ada()).await.expect("the cache answers");
    assert_eq!(get(&subject, &subject.ada(), "k").await, None);
    assert!(range(&subject, &subject.ada(), 0, 9).await.is_empty());
    for other in subject.others() {
        assert_eq!(get(&subject, &other, "k").await.as_deref(), Some("v"), "{other} lost a value");
        assert_eq!(range(&subject, &other, 0, 9).await, ["entry"], "{other} lost a list");
    }
}

/// Each user counts alone.
pub async fn counts_for_each_user_alone(subject: Subject) {
    add(&subject, &subject.ada(), 5).await;
    for other in subject.others() {
        assert_eq!(add(&subject, &other, 1).await, 1, "{other} counts on");
    }
}

/// Each user has the own list.
pub async fn keeps_lists_of_two_users_apart(subject: Subject) {
    push(&subject, &subject.ada(), "hers").await;
    for other in subject.others() {
        assert!(range(&subject, &other, 0, 9).await.is_empty(), "{other} read a list");
        assert_eq!(push(&subject, &other, "theirs").await, 1, "{other} appended to a list");
    }
}

/// A message reaches its sender's channel and no namesake of it.
pub async fn publishes_to_its_owner_only(subject: Subject) {
    for other in subject.others() {
        let mut theirs = subject.cache().subscribe(&other, "news").await.expect("a channel is listened to");
        for (sender, message) in [(subject.ada(), "hers"), (other.clone(), "theirs")] {
            subject.cache().publish(&sender, "news", message.into()).await.expect("a message is sent");
        }
        let heard = soon("the message", theirs.next()).await;
        assert_eq!(heard.as_deref(), Some("theirs".as_bytes()), "{other} heard what was not theirs");
    }
}

/// A value comes back byte by byte, is replaced by the next, and is gone when it is deleted.
pub async fn keeps_a_value_until_it_is_deleted(subject: Subject) {
    let (ada, cache) = (subject.ada(), subject.cache());
    assert_eq!(get(&subject, &ada, "k").await, None);
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    cache.set(&ada, "k", bytes.clone(), None).await.expect("a value is set");
    assert_eq!(cache.get(&ada, "k").await.expect("the cache answers"), Some(bytes));
    set(&subject, &ada, "k", "", None).await;
    assert_eq!(get(&subject, &ada, "k").await.as_deref(), Some(""), "an empty value is a value");
    assert!(cache.delete(&ada, "k").await.expect("the cache answers"));
    assert!(!cache.delete(&ada, "k").await.expect("the cache answers"));
    assert_eq!(get(&subject, &ada, "k").await, None);
}

/// A value lives as long as it was given, and one without a time stays.
pub async fn forgets_a_value_when_its_time_is_over(subject: Subject) {
    let ada = subject.ada();
    set(&subject, &ada, "short", "v", Some(10)).await;
    set(&subject, &ada, "long", "v", Some(30)).await;
    set(&subject, &ada, "forever", "v", None).await;
    subject.pass(9);
    assert!(get(&subject, &ada, "short").await.is_some(), "a value went before its time");
    subject.pass(2);
    assert_eq!(get(&subject, &ada, "short").await, None);
    assert!(!subject.cache().delete(&ada, "short").await.expect("the cache answers"), "what expired is absent");
    assert!(get(&subject, &ada, "long").await.is_some() && get(&subject, &ada, "forever").await.is_some());
}

/// Setting a value anew sets its time anew.
pub async fn gives_a_new_value_a_new_time(subject: Subject) {
    let ada = subject.ada();
    set(&subject, &ada, "k", "short", Some(5)).await;
    set(&subject, &ada, "k", "forever", None).await;
    subject.pass(6);
    assert_eq!(get(&subject, &ada, "k").await.as_deref(), Some("forever"));
}

/// Absent counts as zero, and steps go both ways.
pub async fn counts_from_zero(subject: Subject) {
    let ada = subject.ada();
    assert_eq!((add(&subject, &ada, 5).await, add(&subject, &ada, -7).await), (5, -2));
    assert_eq!(get(&subject, &ada, "n").await.as_deref(), Some("-2"));
    set(&subject, &ada, "n", "40", None).await;
    assert_eq!(add(&subject, &ada, 2).await, 42);
}

/// A counter ends when the value that it began with would have.
pub async fn keeps_the_time_of_a_counter(subject: Subject) {
    let ada = subject.ada();
    set(&subject, &ada, "n", "1", Some(10)).await;
    subject.pass(5);
    assert_eq!(add(&subject, &ada, 1).await, 2);
    subject.pass(6);
    assert_eq!(add(&subject, &ada, 1).await, 1, "the counter began anew");
}

/// Of many increments at a time, none is lost.
pub async fn loses_no_increment_under_concurrency(subject: Subject) {
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let subject = subject.clone();
        tasks.spawn(async move {
            for _ in 0..25 {
                add(&subject, &subject.ada(), 1).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(get(&subject, &subject.ada(), "n").await.as_deref(), Some("200"));
}

/// What is no number is not added to, and stays.
pub async fn refuses_to_count_what_is_no_number(subject: Subject) {
    let ada = subject.ada();
    for value in ["seven", "1.5", "9223372036854775807"] {
        set(&subject, &ada, "n", value, None).await;
        let refused = subject.cache().increment(&ada, "n", 1).await;
        assert!(matches!(refused, Err(Error::WrongType { .. })), "{value}: {refused:?}");
        assert_eq!(get(&subject, &ada, "n").await.as_deref(), Some(value));
    }
}

/// A list is not a value, nor a value a list.
pub async fn tells_lists_from_plain_values(subject: Subject) {
    let (ada, cache) = (subject.ada(), subject.cache());
    push(&subject, &ada, "one").await;
    assert!(matches!(cache.get(&ada, "list").await, Err(Error::WrongType { .. })));
    assert!(matches!(cache.increment(&ada, "list", 1).await, Err(Error::WrongType { .. })));
    set(&subject, &ada, "k", "v", None).await;
    assert!(matches!(cache.push(&ada, "k", Bytes::new()).await, Err(Error::WrongType { .. })));
    assert!(matches!(cache.range(&ada, "k", 0, 1).await, Err(Error::WrongType { .. })));
}

/// A list keeps its order and is read in parts.
pub async fn reads_parts_of_a_list(subject: Subject) {
    let ada = subject.ada();
    assert!(range(&subject, &ada, 0, 9).await.is_empty(), "an absent list is empty");
    for (n, word) in (1..).zip(["a", "b", "c", "d"]) {
        assert_eq!(push(&subject, &ada, word).await, n);
    }
    assert_eq!(range(&subject, &ada, 0, 9).await, ["a", "b", "c", "d"]);
    assert_eq!(range(&subject, &ada, 1, 2).await, ["b", "c"]);
    assert!(range(&subject, &ada, 0, 0).await.is_empty() && range(&subject, &ada, 4, 9).await.is_empty());
    assert!(subject.cache().delete(&ada, "list").await.expect("the cache answers"));
    assert_eq!(push(&subject, &ada, "anew").await, 1);
}

/// Every subscriber of a channel hears every message in order, and those of other channels none.
pub async fn reaches_every_subscriber_of_a_channel(subject: Subject) {
    let (ada, cache) = (subject.ada(), subject.cache());
    cache.publish(&ada, "news", "before".into()).await.expect("nobody listening is not an error");
    let mut listeners = Vec::new();
    for channel in ["news", "news", "other"] {
        listeners.push(cache.subscribe(&ada, channel).await.expect("a channel is listened to"));
    }
    for (channel, message) in [("news", "1"), ("news", "2"), ("other", "3")] {
        cache.publish(&ada, channel, message.into()).await.expect("a message is sent");
    }
    for (listener, expected) in listeners.iter_mut().zip([["1", "2"].as_slice(), &["1", "2"], &["3"]]) {
        for message in expected {
            assert_eq!(soon("the message", listener.next()).await.as_deref(), Some(message.as_bytes()));
        }
    }
}
