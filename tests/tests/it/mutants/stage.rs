//! Props: lives of a process, nodes that can be cut off, and a ledger outside of the engine.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use insula_agent::{Effect, Tool, ToolCall, tool_fn};
use insula_context::{RunId, UserScope};
use insula_engine::{AgentThreads, ExecutionEngineFactory};
use insula_infra::{
    Append, Backend, Claimed, Commit, Error, Lease, RunQueue, RunRecord, RunStatus, WorkerId, conformance::QueueLayer,
};
use serde_json::{Value, json};

use crate::{
    engine::stage::spec,
    support::{Island, log},
};

/// What a probe finds: nothing, or the promise that is broken.
pub(super) type Found = Result<(), String>;

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// Longer than any run of these stories takes, and short enough to be waited for in vain: every quarter of a second the
/// engine looks around, also in virtual time.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Finds a promise broken unless it holds.
pub(super) fn promise(holds: bool, promise: &str, seen: impl std::fmt::Debug) -> Found {
    if holds { Ok(()) } else { Err(format!("{promise} (seen: {seen:?})")) }
}

/// A life of a process in virtual time: when its story has been told, everything in it is gone.
pub(super) fn life<T>(story: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let told = async { tokio::time::timeout(PATIENCE * 3, story).await };
    runtime.block_on(told).unwrap_or_else(|_| Err("every wait ends".to_owned()))
}

/// An island in virtual time.
pub(super) fn island(backend: Backend) -> Island {
    Island::new(backend).threads(AgentThreads::Runtime)
}

/// Waits for a run's end, which has to come in time.
pub(super) async fn ended(
    factory: &ExecutionEngineFactory,
    scope: &UserScope,
    run: &RunId,
) -> Result<RunRecord, String> {
    match tokio::time::timeout(PATIENCE, factory.wait(scope, run)).await {
        Ok(Ok(Some(record))) => Ok(record),
        Ok(Ok(None)) => Err("a run that was accepted is there".to_owned()),
        Ok(Err(error)) => Err(format!("its end can be read ({error})")),
        Err(_) => Err("every run ends".to_owned()),
    }
}

/// The run's result as text, if it completed.
pub(super) fn result(record: &RunRecord) -> Option<&str> {
    record.result.as_ref().filter(|_| record.status == RunStatus::Completed).map(|result| result.get())
}

/// Holds every log of a user against the invariants of logs.
pub(super) async fn whole_log(backend: &Backend, scope: &UserScope) -> Found {
    let (backend, scope) = (backend.clone(), scope.clone());
    let look = tokio::spawn(async move { log::hold_against_the_invariants(&backend, &scope).await });
    look.await.map_err(|panic| insula_context::cleanup::panic_message(&*panic.into_panic()))
}

/// Which tool was called, with which key. A clone is the same ledger.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Ledger {
    pub(super) fn note(&self, what: &'static str, key: &str) {
        self.0.lock().unwrap().push((what, key.to_owned()));
    }

    /// The keys under which it was done, in order.
    pub(super) fn keys(&self, what: &str) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        entries.iter().filter(|(name, _)| *name == what).map(|(_, key)| key.clone()).collect()
    }

    pub(super) fn times(&self, what: &str) -> usize {
        self.keys(what).len()
    }

    /// A tool that is noted here and answers how often it was called.
    pub(super) fn tool(&self, name: &'static str, effect: Effect) -> impl Tool + 'static {
        let ledger = self.clone();
        tool_fn(spec(name).effect(effect), move |call: ToolCall, _: Value| {
            ledger.note(name, call.key());
            let times = ledger.times(name);
            async move { Ok(json!(times)) }
        })
    }
}

/// The way of one process to the store. A clone is the same way.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Arc<AtomicBool>);

impl Line {
    /// The store as this process sees it.
    pub(super) fn to(&self, backend: &Backend) -> Backend {
        let queue = Arc::new(Node { inner: Arc::clone(&backend.queue), line: self.clone() });
        Backend { queue, ..backend.clone() }
    }

    /// Nothing of this process reaches the store any more.
    pub(super) fn cut(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// The process is heard again, as after a long pause of its machine.
    pub(super) fn mend(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), Error> {
        let gone = Error::Unavailable { operation: "reach", component: "the store", source: None };
        if self.0.load(Ordering::SeqCst) { Err(gone) } else { Ok(()) }
    }
}

struct Node {
    inner: Arc<dyn RunQueue>,
    line: Line,
}

#[async_trait::async_trait]
impl QueueLayer for Node {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    async fn claim(&self, worker: &WorkerId, lease: Duration, max: usize, per: usize) -> Result<Vec<Claimed>, Error> {
        self.line.check()?;
        self.inner.claim(worker, lease, max, per).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        self.line.check()?;
        self.inner.renew(worker, lease).await
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<insula_infra::JournalEntry>, Error> {
        self.line.check()?;
        self.inner.journal(lease).await
    }

    fn append(&self, append: Append) -> Commit {
        match self.line.check() {
            Ok(()) => self.inner.append(append),
            Err(error) => Commit::ready(Err(error)),
        }
    }
}
