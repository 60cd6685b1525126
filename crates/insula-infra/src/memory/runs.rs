//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};

use super::{owner::Place, store::Store};
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
            let read = |id: &ThreadId| {
                let thread = owner.threads.get(id)?;
                let (created_at, head) = (thread.created_at, thread.head());
                Some(ThreadRecord { thread_id: id.clone(), created_at, head, forked_from: None })
            };
            Some(owner.thread_order.page(page, read))
        });
        threads.unwrap_or(Ok(Page { items: Vec::new(), next: None }))
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        Ok(self.stop(scope, run, reason).unwrap_or(CancelRequest::Ahead))
    }
    async fn request_cancel_all(
        &self,
        _scope: &UserScope,
        _filter: &RunFilter,
        _reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        Err(Error::Unavailable { operation: "cancel", component: "not built yet", source: None })
    }

    async fn fork_thread(
        &self,
        _scope: &UserScope,
        _fork: &Fork,
        _into: &ThreadId,
        _at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        Err(Error::Unavailable { operation: "fork", component: "not built yet", source: None })
    }

    async fn delete_thread(&self, _scope: &UserScope, _thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        Err(Error::Unavailable { operation: "delete", component: "not built yet", source: None })
    }

    async fn delete_user(&self, _scope: &UserScope) -> Result<Deleted, Error> {
        Err(Error::Unavailable { operation: "delete", component: "not built yet", source: None })
    }
}

impl Store {
    fn stop(&self, scope: &UserScope, id: &RunId, reason: CancelReason) -> Option<CancelRequest> {
        let mut shard = self.shards.lock(scope);
        let owner = shard.owners.get_mut(scope)?;
        let run = owner.runs.get_mut(id)?;
        match run.place {
            Place::Forgotten => return None,
            Place::Ended => return Some(CancelRequest::Ended(run.record.status)),
            _ => {}
        }
        run.record.cancel.get_or_insert(reason);
        if matches!(run.place, Place::Asleep(_)) {
            self.make_ready(scope, owner, id);
        }
        shard.stopping.insert((scope.clone(), id.clone()));
        Some(CancelRequest::Recorded)
    }
}

fn passes(filter: &RunFilter, run: &RunRecord) -> bool {
    filter.thread.as_ref().is_none_or(|thread| *thread == run.header.thread)
        && filter.status.is_none_or(|status| status == run.status)
        && filter.parent.as_ref().is_none_or(|parent| Some(parent) == run.header.parent.as_ref())
        && filter.agent.as_ref().is_none_or(|agent| **agent == *run.header.agent)
}
