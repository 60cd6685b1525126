//! The store as one node sees it: every port behind the node's line, with the book kept beside it.

use std::{
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Answer, AnswerRequest, Append, Backend, CancelRequest, Claimed, Commit, Committed, Deleted, Error, EventLog,
    EventPage, Fork, Inbox, JournalEntry, Lease, LocalSignals, NewRun, News, OpenQuestion, Outlet, Page, PageRequest,
    PayloadHash, RawJson, RunFilter, RunQueue, RunRecord, RunStore, Signals, StateKey, StateStore, Submitted,
    ThreadRecord, ThreadWatch, Versioned, WorkerId, conformance::QueueLayer,
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    book::Said,
    fault::Fault,
    link::{Condition, Link, unavailable},
    world::lock,
};

type Waiting = (Append, oneshot::Sender<Result<Committed, Error>>);

/// News reach a node like everything else: perhaps.
#[derive(Default)]
pub struct Heard(Mutex<Vec<(UserScope, ThreadId, LocalSignals)>>);

/// Every port of one node.
pub struct NodeStore {
    link: Arc<Link>,
    inner: Backend,
    writer: mpsc::UnboundedSender<Waiting>,
}

/// The backend of a node: `inner` behind `link`. `hub` is told of every commit.
pub fn behind(link: &Arc<Link>, inner: &Backend, heard: Arc<Heard>, hub: Hub) -> Backend {
    let (writer, appends) = mpsc::unbounded_channel();
    tokio::spawn(write(Arc::clone(link), Arc::clone(&inner.queue), hub, appends));
    let store = Arc::new(NodeStore { link: Arc::clone(link), inner: inner.clone(), writer });
    Backend {
        queue: Arc::clone(&store) as _,
        runs: Arc::clone(&store) as _,
        inbox: Arc::clone(&store) as _,
        log: Arc::clone(&store) as _,
        state: store,
        signals: heard,
        ..inner.clone()
    }
}

/// All nodes that can be told of a commit, with their lines.
pub type Hub = Arc<Mutex<Vec<(Arc<Link>, Arc<Heard>)>>>;

/// Appends of one node become durable one after the other, as through one connection.
async fn write(link: Arc<Link>, queue: Arc<dyn RunQueue>, hub: Hub, mut appends: mpsc::UnboundedReceiver<Waiting>) {
    while let Some((append, waits)) = appends.recv().await {
        let header = Arc::clone(&append.lease.header);
        let fate = match link.call("append").await {
            Ok(fate) => fate,
            Err(error) => {
                link.note("append", &format!("{} not written", header.run));
                let _nobody_waits = waits.send(Err(error));
                continue;
            }
        };
        let now = link.world.now();
        let said = Said::of(&append, now);
        let answer = queue.append(append).await;
        let known = answer.clone().map(|committed| committed.head);
        link.note("append", &format!("{} {fate:?} {known:?}", said.words()));
        link.check(lock(&link.world.book).appended(&said, &known, now));
        if let Ok(head) = known {
            tell(&hub, &link, &header.scope, &header.thread, head);
        }
        let _nobody_waits = waits.send(link.answer("append", fate, answer).await);
    }
}

fn tell(hub: &Hub, from: &Arc<Link>, scope: &UserScope, thread: &ThreadId, head: u64) {
    for (link, heard) in &*lock(hub) {
        let lost = !Arc::ptr_eq(link, from) && from.world.rng.chance(100);
        if lost && from.world.befalls(Fault::SignalLost) {
            continue;
        }
        if link.condition() == Condition::Fine {
            heard.advanced(scope, thread, head);
        }
    }
}

impl NodeStore {
    fn note(&self, what: &str, detail: &str) {
        self.link.note(what, detail);
    }
}

#[async_trait]
impl QueueLayer for NodeStore {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner.queue
    }

    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        let fate = self.link.call("submit").await?;
        let answer = self.inner.queue.submit(run.clone(), idempotency_key).await;
        self.note("submit", &format!("{} {fate:?} {}", run.header.run, answer.is_ok()));
        if matches!(answer, Ok(Submitted::New)) {
            lock(&self.link.world.book).submitted(&run);
        }
        self.link.answer("submit", fate, answer).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let fate = self.link.call("claim").await?;
        let now = self.link.world.now();
        let answer = self.inner.queue.claim(worker, lease, max, per_owner).await;
        for claimed in answer.iter().flatten() {
            self.note("claim", &format!("{} t{} {fate:?}", claimed.lease.header.run, claimed.lease.token));
            self.link.check(lock(&self.link.world.book).claimed(claimed, now.plus(lease), now));
        }
        self.link.answer("claim", fate, answer).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        let fate = self.link.call("renew").await?;
        let answer = self.inner.queue.renew(worker, lease).await;
        self.note("renew", "");
        let now = self.link.world.now();
        lock(&self.link.world.book).renewed(worker, now.plus(lease), now);
        self.link.answer("renew", fate, answer).await
    }

    fn append(&self, append: Append) -> Commit {
        if self.link.condition() == Condition::Crashed {
            return Commit::ready(Err(unavailable("append")));
        }
        let (answer, receiver) = oneshot::channel();
        match self.writer.send((append, answer)) {
            Ok(()) => Commit::Pending(receiver),
            Err(_) => Commit::ready(Err(unavailable("append"))),
        }
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        let fate = self.link.call("journal").await?;
        let answer = self.inner.queue.journal(lease).await;
        self.note("journal", lease.header.run.as_str());
        if let Ok(entries) = &answer {
            self.link.check(lock(&self.link.world.book).journal(lease, entries));
        }
        self.link.answer("journal", fate, answer).await
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        let fate = self.link.call("recorded").await?;
        self.note("recorded", run.as_str());
        let answer = self.inner.queue.recorded(scope, run).await;
        self.link.answer("recorded", fate, answer).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        let fate = self.link.call("news").await?;
        let mut answer = self.inner.queue.news(worker).await;
        if let Ok(news) = &mut answer {
            // A store may tell them in any order; a seed must not.
            news.sort_by(|one, two| one.header.run.cmp(&two.header.run));
            news.iter().for_each(|news| self.note("news", news.header.run.as_str()));
        }
        self.link.answer("news", fate, answer).await
    }
}

#[async_trait]
impl RunStore for NodeStore {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        let fate = self.link.call("run").await?;
        self.note("run", run.as_str());
        let answer = self.inner.runs.run(scope, run).await;
        self.link.answer("run", fate, answer).await
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        let fate = self.link.call("runs").await?;
        let answer = self.inner.runs.runs(scope, filter, page).await;
        self.link.answer("runs", fate, answer).await
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        self.inner.runs.threads(scope, page).await
    }

    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        self.inner.runs.thread(scope, thread).await
    }

    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        self.inner.runs.create_thread(scope, thread, at).await
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        let fate = self.link.call("cancel").await?;
        let answer = self.inner.runs.request_cancel(scope, run, reason).await;
        self.note("cancel", &format!("{run} {fate:?} {answer:?}"));
        if matches!(answer, Ok(CancelRequest::Recorded)) {
            lock(&self.link.world.book).stopped(&(scope.clone(), run.clone()));
        }
        self.link.answer("cancel", fate, answer).await
    }

    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        let fate = self.link.call("cancel all").await?;
        let answer = self.inner.runs.request_cancel_all(scope, filter, reason).await;
        for run in answer.iter().flatten() {
            self.note("cancel all", &format!("{run} {fate:?}"));
            lock(&self.link.world.book).stopped(&(scope.clone(), run.clone()));
        }
        self.link.answer("cancel all", fate, answer).await
    }

    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        self.inner.runs.fork_thread(scope, fork, into, at).await
    }

    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.inner.runs.delete_thread(scope, thread).await
    }

    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        self.inner.runs.delete_user(scope).await
    }
}

#[async_trait]
impl EventLog for NodeStore {
    async fn thread_events(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        let fate = self.link.call("read").await?;
        let answer = self.inner.log.thread_events(scope, thread, after, limit).await;
        if let Ok(Some(page)) = &answer {
            let seqs: Vec<u64> = page.events.iter().map(|event| event.seq).collect();
            self.note("read", &format!("{thread} after {after}: {}", seqs.len()));
            self.link.check(lock(&self.link.world.book).read(scope, thread, after, &seqs));
        }
        self.link.answer("read", fate, answer).await
    }

    async fn run_events(
        &self,
        scope: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        let fate = self.link.call("read").await?;
        let answer = self.inner.log.run_events(scope, run, after, limit).await;
        self.link.answer("read", fate, answer).await
    }

    async fn payload(&self, scope: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error> {
        let fate = self.link.call("payload").await?;
        let answer = self.inner.log.payload(scope, hash).await;
        self.link.answer("payload", fate, answer).await
    }
}

#[async_trait]
impl StateStore for NodeStore {
    async fn get(&self, scope: &UserScope, key: &StateKey) -> Result<Option<Versioned>, Error> {
        let fate = self.link.call("get").await?;
        let answer = self.inner.state.get(scope, key).await;
        self.link.answer("get", fate, answer).await
    }

    async fn put(&self, scope: &UserScope, key: &StateKey, value: RawJson) -> Result<u64, Error> {
        let fate = self.link.call("put").await?;
        let answer = self.inner.state.put(scope, key, value).await;
        self.link.answer("put", fate, answer).await
    }

    async fn compare_and_set(
        &self,
        scope: &UserScope,
        key: &StateKey,
        expected: Option<u64>,
        value: RawJson,
    ) -> Result<u64, Error> {
        let fate = self.link.call("set").await?;
        let answer = self.inner.state.compare_and_set(scope, key, expected, value).await;
        self.note("set", &format!("{expected:?} {fate:?} {:?}", answer.as_ref().ok()));
        if answer.is_ok() {
            *lock(&self.link.world.book).counted.entry(scope.clone()).or_default() += 1;
        }
        self.link.answer("set", fate, answer).await
    }

    async fn delete(&self, scope: &UserScope, key: &StateKey) -> Result<bool, Error> {
        let fate = self.link.call("delete").await?;
        let answer = self.inner.state.delete(scope, key).await;
        self.link.answer("delete", fate, answer).await
    }
}

#[async_trait]
impl Inbox for NodeStore {
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        let fate = self.link.call("inbox").await?;
        let answer = self.inner.inbox.questions(scope, run, page).await;
        self.link.answer("inbox", fate, answer).await
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        let fate = self.link.call("answer").await?;
        let index = answer.index;
        let answered = self.inner.inbox.answer(scope, run, answer).await;
        if matches!(answered, Ok(Some(AnswerRequest::Recorded | AnswerRequest::Answered))) {
            lock(&self.link.world.book).answered(&(scope.clone(), run.clone()), index);
        }
        self.note("answer", &format!("{run} {fate:?} {answered:?}"));
        self.link.answer("answer", fate, answered).await
    }
}

impl Signals for Heard {
    fn advanced(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        let mut heard = lock(&self.0);
        heard.retain(|(.., signals)| signals.watched() > 0);
        // One after the other: whoever is told together is woken in an order that no seed decides.
        for (owner, watched, signals) in &*heard {
            if owner == scope && watched == thread {
                signals.advanced(scope, thread, head);
            }
        }
    }

    fn watch(&self, scope: &UserScope, thread: &ThreadId) -> ThreadWatch {
        let signals = LocalSignals::new();
        let watch = signals.watch(scope, thread);
        lock(&self.0).push((scope.clone(), thread.clone(), signals));
        watch
    }

    /// The nodes of a simulation share this list: there is nowhere else to carry news to.
    fn attach(&self, _: Weak<dyn Outlet>) {}

    fn pass_on(&self, scope: &UserScope, thread: &ThreadId, head: u64) {
        self.advanced(scope, thread, head);
    }

    fn wake_all(&self) {
        lock(&self.0).iter().for_each(|(.., signals)| signals.wake_all());
    }
}
