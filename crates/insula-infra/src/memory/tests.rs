//! What only this backend can be asked: how much it keeps, and what it does with rotten bytes.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use insula_context::{CancelReason, Clock, RunId, ScopeIssuer, ThreadId, Timestamp, UserScope};
use serde_json::value::to_raw_value;

use super::{cache::Cache, quota::Counters, store::Store};
use crate::{
    Allowance, Amounts, Answer, Append, Budgets, Ceiling, Error, EventLog, EventType, Fork, Holder, Inbox, Lease,
    LocalSignals, NewEvent, NewQuestion, NewRun, Payload, Quota, RateLimit, RawJson, RedisManager, Reservation,
    Reserved, RunChange, RunHeader, RunQueue, RunStore, StateKey, StateSpace, StateStore, ThreadPolicy, WaitFor,
    WorkerId,
};

#[derive(Debug, Default)]
struct Hands(std::sync::atomic::AtomicI64);

impl Hands {
    fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(std::sync::atomic::Ordering::Relaxed))
    }
}

fn user(name: &str) -> UserScope {
    #[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
    ScopeIssuer::new().issue("t", name).unwrap()
}

fn store(retain: usize) -> Store {
    Store::new(Arc::new(Hands::default()), LocalSignals::new(), retain)
}

fn null() -> RawJson {
    to_raw_value(&()).unwrap().into()
}

fn header(owner: &UserScope, thread: &str, run: &str) -> Arc<RunHeader> {
    let (thread, run) = (ThreadId::new(thread).unwrap(), RunId::new(run).unwrap());
    Arc::new(RunHeader { scope: owner.clone(), thread, run, parent: None, agent: "echo".into() })
}

/// Creates a run with two events and a payload, and ends it in the same write if wanted.
fn write(store: &Store, header: Arc<RunHeader>, payload: &Payload, ends: bool) {
    let at = Timestamp::from_micros(0);
    let event = |kind| NewEvent { kind, at, data: null(), journal: None };
    let last = if ends { EventType::AgentCompleted } else { EventType::AgentThinking };
    let (input, version) = (null(), "1".into());
    let new = NewRun::new(Arc::clone(&header), version, input, at);
    let append = Append {
        create: Some((new, Duration::from_secs(1))),
        events: vec![event(EventType::AgentStarted), event(last)],
        change: ends.then(|| RunChange::Completed { result: null() }),
        payloads: vec![payload.clone()],
        ..Append::new(Lease { header, worker: WorkerId::new("w"), token: 1 }, 0)
    };
    store.write(append).unwrap();
}

#[tokio::test]
async fn a_corrupted_payload_is_reported_and_not_returned() {
    let (store, ada, payload) = (store(9), user("ada"), Payload::new(vec![1; 20_000]));
    write(&store, header(&ada, "t", "r"), &payload, true);
    assert_eq!(store.payload(&ada, &payload.hash()).await.unwrap().as_ref(), Some(payload.bytes()));
    store.shards.lock(&ada).owners.get_mut(&ada).unwrap().payloads.corrupt();
    assert!(matches!(store.payload(&ada, &payload.hash()).await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn old_runs_go_with_their_events_payloads_threads_and_state() {
    let (store, ada) = (store(10), user("ada"));
    for n in 0..1_000 {
        let (thread, run) = (format!("t{}", n / 4), format!("r{n}"));
        write(&store, header(&ada, &thread, &run), &Payload::new(n.to_string()), true);
        let space = StateSpace::Run(RunId::new(&run).unwrap());
        store.put(&ada, &StateKey { space, name: "k".into() }, null()).await.unwrap();
    }
    let shard = store.shards.lock(&ada);
    let owner = &shard.owners[&ada];
    let counts = (owner.runs.len(), owner.threads.len(), owner.payloads.len(), owner.state.len(), owner.ended.len());
    assert_eq!(counts, (10, 3, 10, 10, 10));
    assert_eq!(owner.threads.values().map(|thread| thread.log.len()).sum::<usize>(), 20);
}

#[tokio::test]
async fn a_reader_is_told_of_the_gap() {
    let (store, ada) = (store(2), user("ada"));
    for n in 0..5 {
        write(&store, header(&ada, "t", &format!("r{n}")), &Payload::new("same"), true);
    }
    let page = store.thread_events(&ada, &ThreadId::new("t").unwrap(), 0, 99).await.unwrap().unwrap();
    assert_eq!((page.oldest, page.head, page.events.len()), (7, 10, 4));
    assert_eq!(page.events[0].seq, 7);
    assert!(store.run(&ada, &RunId::new("r2").unwrap()).await.unwrap().is_none());
    assert_eq!(store.runs(&ada, &Default::default(), &Default::default()).await.unwrap().items.len(), 2);
    assert!(store.payload(&ada, &Payload::new("same").hash()).await.unwrap().is_some(), "two runs still refer to it");
}

#[tokio::test]
async fn a_log_has_no_hole_behind_a_run_that_goes_on() {
    let (store, ada, payload) = (store(1), user("ada"), Payload::new("p"));
    write(&store, header(&ada, "t", "goes-on"), &payload, false);
    for n in 0..5 {
        write(&store, header(&ada, "t", &format!("r{n}")), &payload, true);
    }
    let page = store.thread_events(&ada, &ThreadId::new("t").unwrap(), 0, 99).await.unwrap().unwrap();
    assert_eq!((page.oldest, page.events.len()), (1, 12));
    assert!(store.run(&ada, &RunId::new("r0").unwrap()).await.unwrap().is_none(), "a forgotten run is not shown");
}

#[tokio::test]
async fn an_owner_who_has_nothing_left_is_forgotten() {
    let (store, payload) = (store(0), Payload::new("p"));
    for n in 0..100 {
        write(&store, header(&user(&format!("u{n}")), "t", "r"), &payload, true);
    }
    let ada = user("ada");
    let key = StateKey { space: StateSpace::User, name: "k".into() };
    store.put(&ada, &key, null()).await.unwrap();
    store.delete(&ada, &key).await.unwrap();
    assert_eq!(store.shards.each().map(|shard| shard.owners.len()).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_thousand_parkings_leave_no_alarm_and_no_slot() {
    let (store, ada) = (store(9), user("ada"));
    write(&store, header(&ada, "t", "r"), &Payload::new("p"), false);
    let worker = WorkerId::new("w");
    let mut lease = Lease { header: header(&ada, "t", "r"), worker: worker.clone(), token: 1 };
    for _ in 0..1_000 {
        let until = Some(Timestamp::from_micros(0));
        let change = Some(RunChange::Waiting { reason: WaitFor::Timer, until, children: Vec::new() });
        let append = Append { change, ..Append::new(lease, 2) };
        store.write(append).unwrap();
        lease = store.claim(&worker, Duration::from_secs(1), 9, usize::MAX).await.unwrap().remove(0).lease;
    }
    assert_eq!(lease.token, 1_001);
    assert!(super::shard::lock(&store.line).is_idle());
    assert_eq!(store.shards.lock(&ada).held.len(), 1);
}

#[tokio::test]
async fn a_cache_stays_within_its_bytes_and_drops_the_oldest() {
    let (cache, ada) = (Cache::new(Arc::new(Hands::default()), 10_000), user("ada"));
    for n in 0..100 {
        cache.set(&ada, &n.to_string(), Bytes::from(vec![0; 1_000]), None).await.unwrap();
    }
    assert!(cache.get(&ada, "99").await.unwrap().is_some() && cache.get(&ada, "0").await.unwrap().is_none());
    assert!(cache.get(&ada, "92").await.unwrap().is_some() && cache.get(&ada, "90").await.unwrap().is_none());
    let large = cache.set(&ada, "large", Bytes::from(vec![0; 10_000]), None).await;
    assert!(matches!(large, Err(Error::TooLarge { limit: 10_000, .. })));
    while cache.push(&ada, "list", Bytes::from(vec![0; 1_000])).await.is_ok() {}
    assert_eq!(cache.range(&ada, "list", 0, 99).await.unwrap().len(), 9);
    assert!(cache.get(&ada, "99").await.unwrap().is_none(), "a growing list takes the place of what is older");
}

#[tokio::test]
async fn what_expired_of_users_who_never_came_back_is_dropped() {
    let clock = Arc::new(Hands::default());
    let (cache, quota) = (Cache::new(clock.clone(), 10_000), Counters::new(clock.clone()));
    let limit = RateLimit { name: "l".into(), max: 1, window: Duration::from_secs(1) };
    for n in 0..20_000 {
        clock.advance(2);
        let once = user(&format!("u{n}"));
        cache.set(&once, "k", Bytes::new(), Some(Duration::from_secs(1))).await.unwrap();
        quota.take(&once, &limit, 1).await.unwrap();
        drop(cache.subscribe(&once, "news").await.unwrap());
    }
    assert!(cache.owners() < 5_000, "{} owners are still cached", cache.owners());
    assert!(quota.owners() < 5_000, "{} owners are still counted", quota.owners());
    assert!(cache.channels() < 100, "{} channels without listeners", cache.channels());
}

#[tokio::test]
async fn wishes_for_runs_that_never_come_are_dropped() {
    let clock = Arc::new(Hands::default());
    let store = Store::new(clock.clone(), LocalSignals::new(), 9);
    let reason = || CancelReason::new("user", "why");
    for n in 0..5_000 {
        clock.advance(10);
        store.request_cancel(&user(&format!("u{n}")), &RunId::new("r").unwrap(), reason()).await.unwrap();
    }
    clock.advance(3_600);
    for n in 0..1_000 {
        store.request_cancel(&user(&format!("v{n}")), &RunId::new("r").unwrap(), reason()).await.unwrap();
    }
    let owners: usize = store.shards.each().map(|shard| shard.owners.len()).sum();
    let queued: usize = store.shards.each().map(|shard| shard.wishes.len()).sum();
    assert_eq!((owners, queued), (1_000, 1_000));
}

#[tokio::test]
async fn a_thousand_asked_answered_and_reserved_leave_nothing() {
    let (store, ada) = (store(10), user("ada"));
    let worker = WorkerId::new("w");
    for n in 0..1_000 {
        let thread = ThreadId::new(format!("t{}", n / 3)).unwrap();
        let id = RunId::new(format!("r{n}")).unwrap();
        let header =
            Arc::new(RunHeader { scope: ada.clone(), thread, run: id.clone(), parent: None, agent: "a".into() });
        let at = Timestamp::from_micros(0);
        let new = NewRun::new(header, "1".into(), null(), at);
        let policy = Some(ThreadPolicy::Enqueue);
        store.submit(NewRun { policy, ..new }, None).await.unwrap();
        let lease = store.claim(&worker, Duration::from_secs(1), 9, 1).await.unwrap().remove(0).lease;
        let ceiling = Ceiling { tokens: Some(1_000_000), ..Ceiling::default() };
        let allowance = Allowance { holder: Holder::User, ceiling, window: Duration::from_secs(1) };
        let amounts = Amounts { tokens: 1, ..Amounts::default() };
        let wish = Reservation { run: id.clone(), index: 0, amounts, allowances: vec![allowance] };
        assert_eq!(store.reserve(&ada, wish).await.unwrap(), Reserved::Granted);
        let ask = |index| NewQuestion { index, kind: WaitFor::Human, question: null(), asked_at: at, expires_at: None };
        store.write(Append { asks: vec![ask(0), ask(1)], ..Append::new(lease.clone(), 0) }).unwrap();
        store.answer(&ada, &id, Answer { index: 0, answer: null(), by: "b".into() }).await.unwrap().unwrap();
        let events = vec![NewEvent { kind: EventType::AgentCompleted, at, data: null(), journal: None }];
        let change = Some(RunChange::Completed { result: null() });
        store.write(Append { events, change, ..Append::new(lease, 0) }).unwrap();
    }
    assert!(super::shard::lock(&store.line).is_idle());
    assert_eq!(super::shard::lock(&store.accounts).len(), 1);
    let shard = store.shards.lock(&ada);
    let owner = &shard.owners[&ada];
    assert_eq!((owner.runs.len(), owner.reservations.len(), shard.wanted.len(), shard.held.len()), (10, 0, 0, 0));
    assert_eq!((owner.share.held, owner.share.unclaimed), (0, 0));
    assert_eq!(owner.threads.values().map(|thread| thread.turns.len()).sum::<usize>(), 0);
    assert!(owner.questions.page(&Default::default(), |key| Some(key.clone())).unwrap().items.is_empty());
}

#[tokio::test]
async fn a_fork_tells_of_the_gap_behind_what_is_forgotten() {
    let (store, ada, payload) = (store(2), user("ada"), Payload::new("p"));
    let fork = |from: &str, seq| Fork { thread_id: ThreadId::new(from).unwrap(), seq };
    write(&store, header(&ada, "t", "r0"), &payload, true);
    write(&store, header(&ada, "t", "r1"), &payload, true);
    let (into, at) = (ThreadId::new("f").unwrap(), Timestamp::from_micros(0));
    store.fork_thread(&ada, &fork("t", 4), &into, at).await.unwrap().unwrap();
    write(&store, header(&ada, "f", "r2"), &payload, true);
    let page = store.thread_events(&ada, &into, 0, 99).await.unwrap().unwrap();
    assert_eq!((page.oldest, page.head, page.events.len(), page.events[0].seq), (3, 6, 4, 3));
    write(&store, header(&ada, "elsewhere", "r3"), &payload, true);
    let page = store.thread_events(&ada, &into, 0, 99).await.unwrap().unwrap();
    assert_eq!((page.oldest, page.head, page.events.len()), (5, 6, 2), "the thread stays as long as its fork");
    write(&store, header(&ada, "elsewhere", "r4"), &payload, true);
    write(&store, header(&ada, "elsewhere", "r5"), &payload, true);
    assert_eq!(store.threads(&ada, &Default::default()).await.unwrap().items.len(), 1, "both have gone");
}
