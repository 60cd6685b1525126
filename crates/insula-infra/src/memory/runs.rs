//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};

use super::store::Store;
use crate::{CancelRequest, Deleted, Error, Fork, Page, PageRequest, RunFilter, RunRecord, RunStore, ThreadRecord};

#[async_trait]
impl RunStore for Store {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        Ok(self.read(scope, |owner| Some(owner.run(run)?.record.clone())))
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        let runs = self.read(scope, |owner| {
            let wanted = |id: &RunId| Some(owner.run(id).filter(|run| passes(filter, &run.record))?.record.clone());
            Some(owner.run_order.page(page, wanted))
        });
        runs.unwrap_or(Ok(Page { items: Vec::new(), next: None }))
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        let threads = self.read(scope, |owner| {
            let read = |id: &ThreadId| owner.threads.get(id).map(|thread| thread.record(id));
            Some(owner.thread_order.page(page, read))
        });
        threads.unwrap_or(Ok(Page { items: Vec::new(), next: None }))
    }

    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        Ok(self.read(scope, |owner| owner.threads.get(thread).map(|found| found.record(thread))))
    }

    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        self.make_thread(scope, thread, at)
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        Ok(self.stop(scope, run, reason))
    }

    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        Ok(self.stop_all(scope, filter, &reason))
    }

    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        self.branch_off(scope, fork, into, at)
    }

    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.delete_whole(scope, thread)
    }

    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        Ok(self.delete_owner(scope))
    }
}

/// Whether a filter lets a run through.
pub(super) fn passes(filter: &RunFilter, run: &RunRecord) -> bool {
    filter.thread.as_ref().is_none_or(|thread| *thread == run.header.thread)
        && filter.status.is_none_or(|status| status == run.status)
        && filter.parent.as_ref().is_none_or(|parent| Some(parent) == run.header.parent.as_ref())
        && filter.agent.as_ref().is_none_or(|agent| **agent == *run.header.agent)
}
