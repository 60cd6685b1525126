//! A process that ends at a bad moment, as the store sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunQueue, ScheduleRecord, Submitted, WorkerId,
};

/// A queue whose caller is gone, every second time, before it has moved a schedule on.
pub(crate) struct Forgets {
    pub(crate) queue: Arc<dyn RunQueue>,
    pub(crate) lost: Arc<AtomicUsize>,
}

#[async_trait]
impl RunQueue for Forgets {
    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        if self.lost.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Err(Error::Unavailable { operation: "advance", component: "the process", source: None });
        }
        self.queue.advance_schedule(scope, name, from, to).await
    }

    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        self.queue.submit(run, idempotency_key).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        self.queue.claim(worker, lease, max, per_owner).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        self.queue.renew(worker, lease).await
    }

    fn append(&self, append: Append) -> Commit {
        self.queue.append(append)
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        self.queue.journal(lease).await
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        self.queue.recorded(scope, run).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        self.queue.news(worker).await
    }

    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        self.queue.due_schedules(max).await
    }

    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        self.queue.forget_before(before, max).await
    }
}
