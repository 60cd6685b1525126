//! Wrong ports other than the queue.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Answer, AnswerRequest, Backend, CancelRequest, Deleted, Error, Fork, Inbox, LocalSignals, OpenQuestion, Outlet,
    Page, PageRequest, RunFilter, RunRecord, RunStore, Signals, ThreadRecord, ThreadWatch,
};

/// Answers are acknowledged, and nobody is told of them.
pub(super) fn forgets_an_answer(backend: Backend) -> Backend {
    Backend { inbox: Arc::new(Deaf(Arc::clone(&backend.inbox))), ..backend }
}

/// Who stops a run that is not there yet is told that it will not begin, and it does.
pub(super) fn forgets_a_cancel_ahead(backend: Backend) -> Backend {
    Backend { runs: Arc::new(Hasty(Arc::clone(&backend.runs))), ..backend }
}

/// Nobody is told that there is something to read.
pub(super) fn loses_every_signal(backend: Backend) -> Backend {
    Backend { signals: Arc::new(Silent(LocalSignals::new())), ..backend }
}

struct Deaf(Arc<dyn Inbox>);

#[async_trait]
impl Inbox for Deaf {
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error> {
        self.0.questions(scope, run, page).await
    }

    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error> {
        let open = self.0.questions(scope, Some(run), &PageRequest::default()).await?.items;
        let is_open = open.iter().any(|open| open.question.index == answer.index);
        Ok(is_open.then_some(AnswerRequest::Recorded))
    }
}

struct Silent(LocalSignals);

impl Signals for Silent {
    fn advanced(&self, _: &UserScope, _: &ThreadId, _: u64) {}

    fn watch(&self, scope: &UserScope, thread: &ThreadId) -> ThreadWatch {
        self.0.watch(scope, thread)
    }

    fn attach(&self, _: Weak<dyn Outlet>) {}

    fn pass_on(&self, _: &UserScope, _: &ThreadId, _: u64) {}

    fn wake_all(&self) {}
}

struct Hasty(Arc<dyn RunStore>);

#[async_trait]
impl RunStore for Hasty {
    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        if self.0.run(scope, run).await?.is_none() {
            return Ok(CancelRequest::Ahead);
        }
        self.0.request_cancel(scope, run, reason).await
    }

    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        self.0.run(scope, run).await
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        self.0.runs(scope, filter, page).await
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        self.0.threads(scope, page).await
    }

    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        self.0.thread(scope, thread).await
    }

    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        self.0.create_thread(scope, thread, at).await
    }

    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        self.0.request_cancel_all(scope, filter, reason).await
    }

    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        self.0.fork_thread(scope, fork, into, at).await
    }

    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.0.delete_thread(scope, thread).await
    }

    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        self.0.delete_user(scope).await
    }
}
