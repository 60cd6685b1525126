//! Stands between an engine and its store, sees every write, and may lose the process at any of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Answer, AnswerRequest, Append, Backend, CancelRequest, Claimed, Commit, Deleted, Error, Fork, Inbox, JournalEntry,
    Lease, NewRun, News, OpenQuestion, Page, PageRequest, RunFilter, RunQueue, RunRecord, RunStore, Submitted,
    ThreadRecord, WorkerId, conformance::QueueLayer,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};

use super::book::Book;

/// Something that changes the store.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "few of them live at once")]
pub(super) enum Write {
    Submit(NewRun),
    /// A claim that took these runs, each with its token.
    Claim(WorkerId, Vec<(RunId, u64)>),
    Append(Append),
    Answer(UserScope, RunId, Answer),
    Stop(UserScope, RunId, CancelReason),
    StopAll(UserScope, RunFilter, CancelReason),
}

/// What becomes of a process at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    GoOn,
    LostBefore,
    /// Once it is durable, and before the process hears of it.
    LostAfter,
}

/// Sees the writes, each before it is made; a claim after.
pub(super) trait Watch: Send + Sync {
    fn fate(&self, write: &Write) -> Fate;

    /// The process is lost now. It may return, where the process is only played.
    fn lose(&self) {}
}

/// A backend whose writes are watched.
pub(super) fn tap(backend: &Backend, watch: Arc<dyn Watch>) -> Backend {
    let (lost, order, runtime) = (AtomicBool::new(false), Mutex::new(()), Handle::current());
    let gate = Arc::new(Gate { watch, lost, order, runtime });
    let queue = Tapped { inner: Arc::clone(&backend.queue), gate: Arc::clone(&gate) };
    let inbox = Tapped { inner: Arc::clone(&backend.inbox), gate: Arc::clone(&gate) };
    let runs = Tapped { inner: Arc::clone(&backend.runs), gate };
    Backend { queue: Arc::new(queue), inbox: Arc::new(inbox), runs: Arc::new(runs), ..backend.clone() }
}

/// What a lost process still does comes to nothing: nobody answers it any more.
struct Gate {
    watch: Arc<dyn Watch>,
    lost: AtomicBool,
    /// Writes are seen in the order in which they reach the store.
    order: Mutex<()>,
    /// Writes also come from threads that know of none.
    runtime: Handle,
}

impl Gate {
    fn lose(&self) {
        self.lost.store(true, Ordering::SeqCst);
        self.watch.lose();
    }

    async fn alive(&self) {
        if self.lost.load(Ordering::SeqCst) {
            std::future::pending().await
        }
    }

    async fn pass<T>(&self, write: Write, work: impl Future<Output = T> + Send) -> T {
        self.alive().await;
        match self.watch.fate(&write) {
            Fate::GoOn => work.await,
            Fate::LostBefore => {
                self.lose();
                std::future::pending().await
            }
            Fate::LostAfter => {
                let _nobody_hears_it = work.await;
                self.lose();
                std::future::pending().await
            }
        }
    }
}

struct Tapped<T: ?Sized> {
    gate: Arc<Gate>,
    inner: Arc<T>,
}

/// An answer that never comes.
fn never() -> Commit {
    let (sender, receiver) = oneshot::channel();
    std::mem::forget(sender);
    Commit::Pending(receiver)
}

#[async_trait]
impl QueueLayer for Tapped<dyn RunQueue> {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    async fn submit(&self, run: NewRun, key: Option<&str>) -> Result<Submitted, Error> {
        self.gate.pass(Write::Submit(run.clone()), self.inner.submit(run, key)).await
    }

    async fn claim(&self, worker: &WorkerId, lease: Duration, max: usize, each: usize) -> Result<Vec<Claimed>, Error> {
        self.gate.alive().await;
        let claimed = self.inner.claim(worker, lease, max, each).await?;
        if claimed.is_empty() {
            return Ok(claimed);
        }
        let taken = claimed.iter().map(|claimed| (claimed.lease.header.run.clone(), claimed.lease.token)).collect();
        self.gate.pass(Write::Claim(worker.clone(), taken), async { Ok(claimed) }).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        self.gate.alive().await;
        self.inner.renew(worker, lease).await
    }

    fn append(&self, append: Append) -> Commit {
        let _in_order = self.gate.order.lock().unwrap();
        if self.gate.lost.load(Ordering::SeqCst) {
            return never();
        }
        match self.gate.watch.fate(&Write::Append(append.clone())) {
            Fate::GoOn => self.inner.append(append),
            Fate::LostBefore => {
                self.gate.lose();
                never()
            }
            Fate::LostAfter => {
                let (commit, gate) = (self.inner.append(append), Arc::clone(&self.gate));
                // Nothing that comes after it reaches the store.
                gate.lost.store(true, Ordering::SeqCst);
                self.gate.runtime.spawn(async move {
                    let _nobody_hears_it = commit.await;
                    gate.lose();
                });
                never()
            }
        }
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        self.gate.alive().await;
        self.inner.journal(lease).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        self.gate.alive().await;
        self.inner.news(worker).await
    }
}

#[async_trait]
impl Inbox for Tapped<dyn Inbox> {
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        self.inner.questions(scope, run, page).await
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        let write = Write::Answer(scope.clone(), run.clone(), answer.clone());
        self.gate.pass(write, self.inner.answer(scope, run, answer)).await
    }
}

#[async_trait]
impl RunStore for Tapped<dyn RunStore> {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        self.inner.run(scope, run).await
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        self.inner.runs(scope, filter, page).await
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        self.inner.threads(scope, page).await
    }

    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        self.inner.thread(scope, thread).await
    }

    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        self.inner.create_thread(scope, thread, at).await
    }

    async fn request_cancel(&self, scope: &UserScope, run: &RunId, why: CancelReason) -> Result<CancelRequest, Error> {
        let write = Write::Stop(scope.clone(), run.clone(), why.clone());
        self.gate.pass(write, self.inner.request_cancel(scope, run, why)).await
    }

    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        why: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        let write = Write::StopAll(scope.clone(), filter.clone(), why.clone());
        self.gate.pass(write, self.inner.request_cancel_all(scope, filter, why)).await
    }

    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        self.inner.fork_thread(scope, fork, into, at).await
    }

    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.inner.delete_thread(scope, thread).await
    }

    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        self.inner.delete_user(scope).await
    }
}

/// Writes down every write, and how much had really been done before it.
#[derive(Debug)]
pub(super) struct Recorder {
    book: Book,
    writes: Mutex<Vec<(Write, usize)>>,
}

impl Recorder {
    pub(super) fn beside(book: &Book) -> Arc<Self> {
        Arc::new(Self { book: book.clone(), writes: Mutex::default() })
    }

    pub(super) fn writes(&self) -> Vec<(Write, usize)> {
        self.writes.lock().unwrap().clone()
    }
}

impl Watch for Recorder {
    fn fate(&self, write: &Write) -> Fate {
        self.writes.lock().unwrap().push((write.clone(), self.book.notes().len()));
        Fate::GoOn
    }
}

/// A process that is lost at one write: it goes on, and nothing that it does reaches the store any more.
pub(super) struct Lost {
    at: Box<dyn Fn(&Write) -> Fate + Send + Sync>,
    is_lost: Notify,
}

impl Lost {
    pub(super) fn at(at: impl Fn(&Write) -> Fate + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { at: Box::new(at), is_lost: Notify::new() })
    }

    /// Before its `n`th write, counted from 1.
    pub(super) fn before(n: usize) -> Arc<Self> {
        let seen = std::sync::atomic::AtomicUsize::new(0);
        Self::at(move |_| if seen.fetch_add(1, Ordering::SeqCst) + 1 < n { Fate::GoOn } else { Fate::LostBefore })
    }

    /// Until it is lost.
    pub(super) async fn wait(&self) {
        self.is_lost.notified().await;
    }
}

impl Watch for Lost {
    fn fate(&self, write: &Write) -> Fate {
        (self.at)(write)
    }

    fn lose(&self) {
        self.is_lost.notify_one();
    }
}
