//! Backends with one mistake each, other than a leak. The rules must find them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{RunId, ThreadId, UserScope};
use tokio::sync::{Notify, oneshot};

pub use super::unfair::{
    forgets_a_reservation, ignores_the_policy_of_a_thread, ignores_what_an_owner_holds, loses_the_wake_of_a_parent,
    takes_a_second_answer,
};
pub use super::untold::{forgets_who_is_to_be_told, gives_a_call_to_two};

use super::layer::QueueLayer;
use crate::{Append, Backend, Claimed, Commit, Error, EventLog, EventPage, Lease, PayloadHash, RunQueue, WorkerId};

/// The backend, with every lease taken for the newest.
pub fn ignores_the_fencing_token(backend: Backend) -> Backend {
    let queue = Arc::new(Mutant { inner: backend.clone(), mistake: Mistake::Token(Mutex::default()) });
    Backend { queue, ..backend }
}

/// The backend, with readers told of events that are written only after somebody looked for them.
pub fn tells_before_it_writes(backend: Backend) -> Backend {
    let looked = Arc::new(Notify::new());
    let queue = Arc::new(Mutant { inner: backend.clone(), mistake: Mistake::Early(Arc::clone(&looked)) });
    let log = Arc::new(Reader { inner: Arc::clone(&backend.log), looked: Some(looked) });
    Backend { queue, log, ..backend }
}

/// The backend, with the last event missing from every page.
pub fn drops_the_last_event(backend: Backend) -> Backend {
    let log = Arc::new(Reader { inner: Arc::clone(&backend.log), looked: None });
    Backend { log, ..backend }
}

type Newest = Mutex<HashMap<(UserScope, RunId), u64>>;

enum Mistake {
    /// The newest token of each run, to be put in the place of any other.
    Token(Newest),
    /// Told when somebody looked.
    Early(Arc<Notify>),
}

struct Mutant {
    inner: Backend,
    mistake: Mistake,
}

impl Mutant {
    fn claimed(&self, lease: &Lease) {
        if let Mistake::Token(newest) = &self.mistake {
            let run = (lease.header.scope.clone(), lease.header.run.clone());
            newest.lock().unwrap_or_else(PoisonError::into_inner).insert(run, lease.token);
        }
    }

    /// Tells of the events at once, and writes them when somebody has looked for them.
    fn tell_first(&self, append: Append, looked: Arc<Notify>) -> Commit {
        let (inner, header) = (self.inner.clone(), Arc::clone(&append.lease.header));
        let (answer, receiver) = oneshot::channel();
        let head = append.after + append.events.len() as u64;
        tokio::spawn(async move {
            looked.notified().await;
            let _nobody_waits = answer.send(inner.queue.append(append).await);
        });
        self.inner.signals.advanced(&header.scope, &header.thread, head);
        Commit::Pending(receiver)
    }
}

#[async_trait]
impl QueueLayer for Mutant {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner.queue
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let claimed = self.inner.queue.claim(worker, lease, max, per_owner).await?;
        claimed.iter().for_each(|claimed| self.claimed(&claimed.lease));
        Ok(claimed)
    }

    fn append(&self, mut append: Append) -> Commit {
        match &self.mistake {
            Mistake::Token(newest) => {
                let run = (append.lease.header.scope.clone(), append.lease.header.run.clone());
                let newest = newest.lock().unwrap_or_else(PoisonError::into_inner);
                append.lease.token = newest.get(&run).copied().unwrap_or(append.lease.token);
            }
            Mistake::Early(looked) if append.create.is_none() => return self.tell_first(append, Arc::clone(looked)),
            Mistake::Early(_) => {}
        }
        self.inner.queue.append(append)
    }
}

struct Reader {
    inner: Arc<dyn EventLog>,
    looked: Option<Arc<Notify>>,
}

impl Reader {
    fn page(&self, mut page: Option<EventPage>) -> Option<EventPage> {
        match (&self.looked, &mut page) {
            (Some(looked), _) => looked.notify_one(),
            (None, Some(page)) => drop(page.events.pop()),
            (None, None) => {}
        }
        page
    }
}

#[async_trait]
impl EventLog for Reader {
    async fn thread_events(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        Ok(self.page(self.inner.thread_events(scope, thread, after, limit).await?))
    }

    async fn run_events(
        &self,
        scope: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        Ok(self.page(self.inner.run_events(scope, run, after, limit).await?))
    }

    async fn payload(&self, scope: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error> {
        self.inner.payload(scope, hash).await
    }
}
