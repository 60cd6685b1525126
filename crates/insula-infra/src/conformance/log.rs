//! Rules of the log: in order, without gaps, as it was written, to its owner.

use insula_context::{IdSource, SeededIds, UserScope};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    Subject,
    story::{run, said, seqs},
    subject::thread,
};
use crate::{Event, EventPage, EventType, Payload, PayloadHash};

async fn thread_page(subject: &Subject, scope: &UserScope, id: &str, after: u64, limit: usize) -> Option<EventPage> {
    subject.backend.log.thread_events(scope, &thread(id), after, limit).await.expect("the log answers")
}

async fn run_page(subject: &Subject, scope: &UserScope, id: &str, after: u64, limit: usize) -> Option<EventPage> {
    subject.backend.log.run_events(scope, &run(id), after, limit).await.expect("the log answers")
}

/// Another user's thread is as absent as one that never was.
pub async fn hides_threads_from_other_users(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        assert!(thread_page(&subject, &other, "t", 0, 9).await.is_none(), "{other} read a thread");
    }
}

/// Another user's run has no events.
pub async fn hides_the_events_of_a_run_from_other_users(subject: Subject) {
    subject.start(&subject.ada(), "t", "r").await;
    for other in subject.others() {
        assert!(run_page(&subject, &other, "r", 0, 9).await.is_none(), "{other} read a run's events");
    }
}

/// Threads of one name count by themselves, and the events of one never stand in the other.
pub async fn numbers_the_same_thread_of_two_users_apart(subject: Subject) {
    for (n, owner) in [[subject.ada()].as_slice(), &subject.others()].concat().into_iter().enumerate() {
        let mut writer = subject.start(&owner, "t", &format!("r{n}")).await;
        assert_eq!(writer.say(&[n as u64]).await.head, 2, "{owner}");
    }
    assert_eq!(said(&subject.events(&subject.ada(), "t").await), [0]);
}

/// A hash is not a key to another user's payload.
pub async fn hides_payloads_from_other_users(subject: Subject) {
    let payload = Payload::new(vec![1; 20_000]);
    subject.start(&subject.ada(), "t", "r").await.attach(payload.clone()).await;
    for other in subject.others() {
        let found = subject.backend.log.payload(&other, &payload.hash()).await.expect("the log answers");
        assert!(found.is_none(), "{other} read a payload");
    }
}

/// What was never written is absent, and not an error.
pub async fn answers_none_for_what_is_absent(subject: Subject) {
    let ada = subject.ada();
    assert!(thread_page(&subject, &ada, "t", 0, 9).await.is_none());
    assert!(run_page(&subject, &ada, "r", 0, 9).await.is_none());
    let found = subject.backend.log.payload(&ada, &PayloadHash::of(b"never")).await;
    assert!(found.expect("the log answers").is_none());
}

/// A run without events has an empty page, and its thread as well.
pub async fn has_an_empty_page_for_a_queued_run(subject: Subject) {
    let ada = subject.ada();
    subject.submit(&ada, "t", "r").await;
    let pages = [thread_page(&subject, &ada, "t", 0, 9).await, run_page(&subject, &ada, "r", 0, 9).await];
    for page in pages {
        let page = page.expect("the thread is there");
        assert_eq!((page.events.len(), page.head), (0, 0));
        assert!(page.oldest <= 1, "an empty log has no gap");
    }
}

/// An event reads as it was written, with its run's header.
pub async fn reads_events_as_they_were_written(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    let at = subject.now();
    let data = json!({"text": "späte Grüße \u{1F30A}", "n": 1.5, "deep": [[{"a": null}]]});
    let kinds: Vec<_> = EventType::ALL.into_iter().filter(|kind| !kind.is_terminal()).collect();
    let events = kinds.iter().map(|kind| subject.event(*kind, &data)).collect();
    writer.write(events, None).await.expect("events of every kind are written");
    let read = subject.events(&ada, "t").await;
    assert_eq!(read.iter().skip(1).map(|event| event.kind).collect::<Vec<_>>(), kinds);
    assert_eq!(seqs(&read), (1..=1 + kinds.len() as u64).collect::<Vec<_>>());
    for event in &read[1..] {
        assert_eq!((event.data::<serde_json::Value>().expect("JSON"), event.at), (data.clone(), at));
        assert_eq!(*event.header, *subject.header(&ada, "t", "r"));
    }
}

/// A child's events name the run that started it.
pub async fn keeps_the_parent_of_a_run(subject: Subject) {
    let mut append = subject.creation(&subject.ada(), "t", "child");
    let header = crate::RunHeader { parent: Some(run("parent")), ..(*append.lease.header).clone() };
    append.lease.header = header.into();
    append.create.as_mut().expect("a creation").0.header = append.lease.header.clone();
    subject.backend.queue.append(append).await.expect("the child is created");
    let events = subject.events(&subject.ada(), "t").await;
    assert_eq!(events[0].header.parent, Some(run("parent")));
}

/// Time within a run stands still rather than going back.
pub async fn never_turns_time_back_within_a_run(subject: Subject) {
    let mut writer = subject.start(&subject.ada(), "t", "r").await;
    let early = subject.event(EventType::AgentThinking, &json!(1));
    subject.pass(5);
    let late = subject.event(EventType::AgentThinking, &json!(2));
    writer.write(vec![late, early.clone()], None).await.expect("events are written");
    writer.write(vec![early], None).await.expect("an event is written");
    let times: Vec<_> = subject.events(&subject.ada(), "t").await.iter().map(|event| event.at).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// A reader goes on where it stopped, in pages of any size, and finds the end.
pub async fn reads_on_from_a_cursor(subject: Subject) {
    let ada = subject.ada();
    subject.start(&ada, "t", "r").await.say(&(0..20).collect::<Vec<_>>()).await;
    for limit in [1, 7, 21, 99] {
        let (mut cursor, mut seen) = (0, Vec::new());
        loop {
            let page = thread_page(&subject, &ada, "t", cursor, limit).await.expect("the thread is there");
            assert_eq!((page.oldest, page.head), (1, 21));
            assert!(page.events.len() <= limit, "a page of {} where {limit} were wanted", page.events.len());
            let Some(last) = page.events.last() else { break };
            cursor = last.seq;
            seen.extend(page.events);
        }
        assert_eq!(seqs(&seen), (1..=21).collect::<Vec<_>>());
    }
    for beyond in [21, 22, u64::MAX / 4] {
        let page = thread_page(&subject, &ada, "t", beyond, 9).await.expect("the thread is there");
        assert_eq!((page.events.len(), page.head), (0, 21), "after {beyond}");
    }
}

/// Runs of one thread share its numbers, and each is read by itself.
pub async fn reads_one_run_of_a_shared_thread(subject: Subject) {
    let ada = subject.ada();
    let (mut one, mut two) = (subject.start(&ada, "t", "one").await, subject.start(&ada, "t", "two").await);
    for n in 0..5 {
        one.say(&[n]).await;
        two.say(&[n + 100]).await;
    }
    let page = run_page(&subject, &ada, "two", 0, 99).await.expect("the run is there");
    assert_eq!((said(&page.events), seqs(&page.events)), ((100..105).collect(), vec![2, 4, 6, 8, 10, 12]));
    assert_eq!(page.head, 12);
    let rest = run_page(&subject, &ada, "two", 6, 2).await.expect("the run is there");
    assert_eq!(seqs(&rest.events), [8, 10]);
    assert_eq!(seqs(&subject.events(&ada, "t").await), (1..=12).collect::<Vec<_>>());
}

/// Many writers at a time, in one thread and in others, leave no gap and no double.
pub async fn keeps_seq_without_gaps_under_concurrency(subject: Subject) {
    let (writers, writes) = (8, 25);
    let mut tasks = JoinSet::new();
    for n in 0..writers {
        let subject = subject.clone();
        tasks.spawn(async move {
            let owner = subject.user(if n % 2 == 0 { "ada" } else { "bob" });
            let mut writer = subject.start(&owner, "t", &format!("r{n}")).await;
            for k in 0..writes {
                writer.say(&[k, k]).await;
            }
            writer.end().await;
        });
    }
    tasks.join_all().await;
    for owner in ["ada", "bob"] {
        let events = subject.events(&subject.user(owner), "t").await;
        assert_eq!(seqs(&events), (1..=writers / 2 * (2 * writes + 2)).collect::<Vec<_>>());
        assert_eq!(events.iter().filter(|event| event.kind.is_terminal()).count() as u64, writers / 2);
    }
}

/// Whoever reads while others write sees a log that only grows at its end.
pub async fn shows_a_reader_a_log_that_only_grows(subject: Subject) {
    let ada = subject.ada();
    let mut writer = subject.start(&ada, "t", "r").await;
    let reader = {
        let (subject, ada) = (subject.clone(), ada.clone());
        async move {
            let mut seen: Vec<Event> = Vec::new();
            while seen.len() < 301 {
                let cursor = seen.last().map_or(0, |event| event.seq);
                let page = thread_page(&subject, &ada, "t", cursor, 50).await.expect("the thread is there");
                seen.extend(page.events);
                tokio::task::yield_now().await;
            }
            seen
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(reader);
    for n in 0..100 {
        writer.say(&[3 * n, 3 * n + 1, 3 * n + 2]).await;
    }
    let seen = super::subject::soon("three hundred events", tasks.join_all()).await.concat();
    assert_eq!((said(&seen), seqs(&seen)), ((0..300).collect(), (1..=301).collect()));
}

/// Whatever is written by whom in which order, reading it back gives every thread's events in the order of writing.
pub async fn reads_back_whatever_was_written(subject: Subject) {
    let dice = SeededIds::new(1729);
    let roll = |sides: u128| (dice.random() % sides) as usize;
    let owners = [subject.ada(), subject.user("bob"), subject.user("eve")];
    let mut writers = Vec::new();
    for n in 0..12 {
        writers.push((n % 3, n % 2, subject.start(&owners[n % 3], &format!("t{}", n % 2), &format!("r{n}")).await));
    }
    let mut model = [[const { Vec::new() }; 2], [const { Vec::new() }; 2], [const { Vec::new() }; 2]];
    for n in 0..300 {
        let (owner, in_thread, writer) = &mut writers[roll(12)];
        let numbers: Vec<_> = (0..roll(4) as u64).map(|k| 10 * n + k).collect();
        writer.say(&numbers).await;
        model[*owner][*in_thread].extend(numbers);
    }
    for (owner, threads) in owners.iter().zip(model) {
        for (in_thread, expected) in threads.into_iter().enumerate() {
            let events = subject.events(owner, &format!("t{in_thread}")).await;
            assert_eq!(said(&events), expected, "seed 1729, {owner}, thread {in_thread}");
            assert_eq!(seqs(&events), (1..=events.len() as u64).collect::<Vec<_>>());
        }
    }
}

/// A payload that several events refer to comes back identical, from one copy.
pub async fn stores_a_large_payload_once(subject: Subject) {
    let ada = subject.ada();
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    let payload = Payload::new(bytes.clone());
    let mut writer = subject.start(&ada, "t", "r").await;
    writer.attach(payload.clone()).await;
    writer.attach(payload.clone()).await;
    let mut other = subject.start(&ada, "elsewhere", "other").await;
    other.attach(payload.clone()).await;
    other.end().await;
    let found = subject.backend.log.payload(&ada, &payload.hash()).await.expect("the log answers");
    assert_eq!(found.as_deref(), Some(bytes.as_slice()));
}

/// Two users with the same payload have one each: the end of one does not take the other's.
pub async fn keeps_a_payload_for_each_of_its_owners(subject: Subject) {
    let payload = Payload::new(vec![3; 50_000]);
    for owner in [subject.ada(), subject.user("bob")] {
        let mut writer = subject.start(&owner, "t", "r").await;
        writer.attach(payload.clone()).await;
        writer.end().await;
        let found = subject.backend.log.payload(&owner, &payload.hash()).await.expect("the log answers");
        assert_eq!(found.as_ref(), Some(payload.bytes()), "{owner}");
    }
}
