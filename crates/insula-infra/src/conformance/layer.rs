//! A queue that stands before another and passes on what it does not change: for faults, mutants and recorders.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};

use crate::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunQueue, ScheduleRecord, Submitted, WorkerId,
};

/// Implement this, and override what is to be different: it is a [`RunQueue`] then.
#[async_trait]
#[expect(missing_docs, reason = "each method is the one of the same name of RunQueue")]
pub trait QueueLayer: Send + Sync {
    /// The queue behind it.
    fn inner(&self) -> &Arc<dyn RunQueue>;

    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        self.inner().submit(run, idempotency_key).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        self.inner().claim(worker, lease, max, per_owner).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        self.inner().renew(worker, lease).await
    }

    fn append(&self, append: Append) -> Commit {
        self.inner().append(append)
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        self.inner().journal(lease).await
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        self.inner().recorded(scope, run).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        self.inner().news(worker).await
    }

    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        self.inner().due_schedules(max).await
    }

    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        self.inner().advance_schedule(scope, name, from, to).await
    }

    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        self.inner().forget_before(before, max).await
    }
}

#[async_trait]
impl<T: QueueLayer> RunQueue for T {
    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        QueueLayer::submit(self, run, idempotency_key).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        QueueLayer::claim(self, worker, lease, max, per_owner).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        QueueLayer::renew(self, worker, lease).await
    }

    fn append(&self, append: Append) -> Commit {
        QueueLayer::append(self, append)
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        QueueLayer::journal(self, lease).await
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        QueueLayer::recorded(self, scope, run).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        QueueLayer::news(self, worker).await
    }

    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        QueueLayer::due_schedules(self, max).await
    }

    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        QueueLayer::advance_schedule(self, scope, name, from, to).await
    }

    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        QueueLayer::forget_before(self, before, max).await
    }
}
