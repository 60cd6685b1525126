//! A backend that forgets whose things it keeps. The rules of isolation must find every one of its leaks.

mod service;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};

use super::{layer::QueueLayer, subject::scope};
use crate::{
    Answer, AnswerRequest, Append, Backend, Balance, Budgets, CacheSubscription, CancelRequest, Commit,
    DatabaseSession, DatabaseSessionManager, Deleted, Error, EventLog, EventPage, Fork, Holder, Inbox, JournalEntry,
    Lease, NewRun, OpenQuestion, Outlet, Page, PageRequest, PayloadHash, Quota, RateLimit, RawJson, RedisManager,
    Reservation, Reserved, RunFilter, RunHeader, RunQueue, RunRecord, RunStore, ScheduleRecord, ScheduleStore, Signals,
    StateKey, StateStore, Submitted, Taken, ThreadRecord, ThreadWatch, Versioned,
};

/// The backend, with everything of every user under one scope.
pub fn leaky(backend: Backend) -> Backend {
    let leak = Arc::new(Leak { everyone: scope("leaky", "everyone"), inner: backend.clone() });
    Backend {
        inbox: Arc::clone(&leak) as _,
        schedules: Arc::clone(&leak) as _,
        budgets: Arc::clone(&leak) as _,
        queue: Arc::clone(&leak) as _,
        runs: Arc::clone(&leak) as _,
        log: Arc::clone(&leak) as _,
        state: Arc::clone(&leak) as _,
        signals: Arc::clone(&leak) as _,
        quota: Arc::clone(&leak) as _,
        usage: Arc::clone(&leak) as _,
        keys: Arc::clone(&leak) as _,
        audit: Arc::clone(&leak) as _,
        webhooks: Arc::clone(&leak) as _,
        // Works across owners: there is nothing to forget.
        plans: backend.plans,
        census: backend.census,
        cache: backend.cache.map(|inner| Arc::new(LeakyCache { everyone: leak.everyone.clone(), inner }) as _),
        database: backend.database.map(|inner| Arc::new(LeakyDatabase { everyone: leak.everyone.clone(), inner }) as _),
        health: backend.health,
    }
}

struct Leak {
    everyone: UserScope,
    inner: Backend,
}

impl Leak {
    fn forget(&self, header: &RunHeader) -> Arc<RunHeader> {
        Arc::new(RunHeader { scope: self.everyone.clone(), ..header.clone() })
    }

    fn forget_lease(&self, lease: &Lease) -> Lease {
        Lease { header: self.forget(&lease.header), ..lease.clone() }
    }
}

#[async_trait]
impl QueueLayer for Leak {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner.queue
    }

    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        let run = NewRun { header: self.forget(&run.header), ..run };
        self.inner.queue.submit(run, idempotency_key).await
    }

    fn append(&self, append: Append) -> Commit {
        let lease = self.forget_lease(&append.lease);
        let create = append.create.map(|(run, time)| (NewRun { header: Arc::clone(&lease.header), ..run }, time));
        self.inner.queue.append(Append { lease, create, ..append })
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        self.inner.queue.journal(&self.forget_lease(lease)).await
    }

    async fn recorded(&self, _: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        self.inner.queue.recorded(&self.everyone, run).await
    }

    async fn advance_schedule(
        &self,
        _: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        self.inner.queue.advance_schedule(&self.everyone, name, from, to).await
    }
}

#[async_trait]
impl RunStore for Leak {
    async fn run(&self, _: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        self.inner.runs.run(&self.everyone, run).await
    }

    async fn runs(&self, _: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        self.inner.runs.runs(&self.everyone, filter, page).await
    }

    async fn threads(&self, _: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        self.inner.runs.threads(&self.everyone, page).await
    }

    async fn thread(&self, _: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        self.inner.runs.thread(&self.everyone, thread).await
    }

    async fn create_thread(&self, _: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        self.inner.runs.create_thread(&self.everyone, thread, at).await
    }

    async fn request_cancel(&self, _: &UserScope, run: &RunId, reason: CancelReason) -> Result<CancelRequest, Error> {
        self.inner.runs.request_cancel(&self.everyone, run, reason).await
    }

    async fn request_cancel_all(
        &self,
        _: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        self.inner.runs.request_cancel_all(&self.everyone, filter, reason).await
    }

    async fn fork_thread(
        &self,
        _: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        self.inner.runs.fork_thread(&self.everyone, fork, into, at).await
    }

    async fn delete_thread(&self, _: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.inner.runs.delete_thread(&self.everyone, thread).await
    }

    async fn delete_user(&self, _: &UserScope) -> Result<Deleted, Error> {
        self.inner.runs.delete_user(&self.everyone).await
    }
}

#[async_trait]
impl Inbox for Leak {
    async fn questions(
        &self,
        _: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        self.inner.inbox.questions(&self.everyone, run, page).await
    }

    async fn answer(&self, _: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        self.inner.inbox.answer(&self.everyone, run, answer).await
    }
}

#[async_trait]
impl ScheduleStore for Leak {
    async fn put_schedule(&self, _: &UserScope, schedule: ScheduleRecord) -> Result<(), Error> {
        self.inner.schedules.put_schedule(&self.everyone, schedule).await
    }

    async fn schedules(&self, _: &UserScope) -> Result<Vec<ScheduleRecord>, Error> {
        self.inner.schedules.schedules(&self.everyone).await
    }

    async fn delete_schedule(&self, _: &UserScope, name: &str) -> Result<bool, Error> {
        self.inner.schedules.delete_schedule(&self.everyone, name).await
    }
}

#[async_trait]
impl Budgets for Leak {
    async fn reserve(&self, _: &UserScope, reservation: Reservation) -> Result<Reserved, Error> {
        self.inner.budgets.reserve(&self.everyone, reservation).await
    }

    async fn balance(&self, _: &UserScope, holder: Holder) -> Result<Balance, Error> {
        self.inner.budgets.balance(&self.everyone, holder).await
    }
}

#[async_trait]
impl EventLog for Leak {
    async fn thread_events(
        &self,
        _: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        self.inner.log.thread_events(&self.everyone, thread, after, limit).await
    }

    async fn run_events(
        &self,
        _: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        self.inner.log.run_events(&self.everyone, run, after, limit).await
    }

    async fn payload(&self, _: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error> {
        self.inner.log.payload(&self.everyone, hash).await
    }
}

#[async_trait]
impl StateStore for Leak {
    async fn get(&self, _: &UserScope, key: &StateKey) -> Result<Option<Versioned>, Error> {
        self.inner.state.get(&self.everyone, key).await
    }

    async fn put(&self, _: &UserScope, key: &StateKey, value: RawJson) -> Result<u64, Error> {
        self.inner.state.put(&self.everyone, key, value).await
    }

    async fn compare_and_set(
        &self,
        _: &UserScope,
        key: &StateKey,
        expected: Option<u64>,
        value: RawJson,
    ) -> Result<u64, Error> {
        self.inner.state.compare_and_set(&self.everyone, key, expected, value).await
    }

    async fn delete(&self, _: &UserScope, key: &StateKey) -> Result<bool, Error> {
        self.inner.state.delete(&self.everyone, key).await
    }
}

impl Signals for Leak {
    fn advanced(&self, _: &UserScope, thread: &ThreadId, head: u64) {
        self.inner.signals.advanced(&self.everyone, thread, head);
    }

    fn watch(&self, _: &UserScope, thread: &ThreadId) -> ThreadWatch {
        self.inner.signals.watch(&self.everyone, thread)
    }

    fn attach(&self, outlet: Weak<dyn Outlet>) {
        self.inner.signals.attach(outlet);
    }

    fn pass_on(&self, _: &UserScope, thread: &ThreadId, head: u64) {
        self.inner.signals.pass_on(&self.everyone, thread, head);
    }

    fn wake_all(&self) {
        self.inner.signals.wake_all();
    }
}

#[async_trait]
impl Quota for Leak {
    async fn take(&self, _: &UserScope, limit: &RateLimit, amount: u64) -> Result<Taken, Error> {
        self.inner.quota.take(&self.everyone, limit, amount).await
    }
}

struct LeakyCache {
    everyone: UserScope,
    inner: Arc<dyn RedisManager>,
}

#[async_trait]
impl RedisManager for LeakyCache {
    async fn get(&self, _: &UserScope, key: &str) -> Result<Option<Bytes>, Error> {
        self.inner.get(&self.everyone, key).await
    }

    async fn set(&self, _: &UserScope, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), Error> {
        self.inner.set(&self.everyone, key, value, ttl).await
    }

    async fn delete(&self, _: &UserScope, key: &str) -> Result<bool, Error> {
        self.inner.delete(&self.everyone, key).await
    }

    async fn clear(&self, _: &UserScope) -> Result<(), Error> {
        self.inner.clear(&self.everyone).await
    }

    async fn increment(&self, _: &UserScope, key: &str, by: i64) -> Result<i64, Error> {
        self.inner.increment(&self.everyone, key, by).await
    }

    async fn push(&self, _: &UserScope, key: &str, value: Bytes) -> Result<u64, Error> {
        self.inner.push(&self.everyone, key, value).await
    }

    async fn range(&self, _: &UserScope, key: &str, start: usize, count: usize) -> Result<Vec<Bytes>, Error> {
        self.inner.range(&self.everyone, key, start, count).await
    }

    async fn publish(&self, _: &UserScope, channel: &str, message: Bytes) -> Result<(), Error> {
        self.inner.publish(&self.everyone, channel, message).await
    }

    async fn subscribe(&self, _: &UserScope, channel: &str) -> Result<CacheSubscription, Error> {
        self.inner.subscribe(&self.everyone, channel).await
    }
}

struct LeakyDatabase {
    everyone: UserScope,
    inner: Arc<dyn DatabaseSessionManager>,
}

#[async_trait]
impl DatabaseSessionManager for LeakyDatabase {
    async fn open(&self, _: &UserScope) -> Result<Box<dyn DatabaseSession>, Error> {
        self.inner.open(&self.everyone).await
    }

    async fn forget_user(&self, _: &UserScope) -> Result<(), Error> {
        self.inner.forget_user(&self.everyone).await
    }

    fn open_sessions(&self) -> usize {
        self.inner.open_sessions()
    }
}
