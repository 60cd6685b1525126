//! More backends with one mistake each: who is told of the end of a run, and how often.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, UserScope};

use super::layer::QueueLayer;
use crate::{
    Append, Attempt, Backend, Commit, Error, NewRun, Page, PageRequest, RunQueue, Submitted, WebhookRecord,
    WebhookState, Webhooks,
};

/// The backend, with runs of which nobody is told.
pub fn forgets_who_is_to_be_told(backend: Backend) -> Backend {
    Backend { queue: Arc::new(Silent(Arc::clone(&backend.queue))), ..backend }
}

/// The backend, with calls that are given to everybody who asks.
pub fn gives_a_call_to_two(backend: Backend) -> Backend {
    Backend { webhooks: Arc::new(Generous(Arc::clone(&backend.webhooks))), ..backend }
}

struct Silent(Arc<dyn RunQueue>);

#[async_trait]
impl QueueLayer for Silent {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.0
    }

    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        self.0.submit(NewRun { webhook: None, ..run }, idempotency_key).await
    }

    fn append(&self, append: Append) -> Commit {
        let create = append.create.map(|(run, lease)| (NewRun { webhook: None, ..run }, lease));
        self.0.append(Append { create, ..append })
    }
}

struct Generous(Arc<dyn Webhooks>);

#[async_trait]
impl Webhooks for Generous {
    async fn due_webhooks(&self, _: Duration, max: usize) -> Result<Vec<WebhookRecord>, Error> {
        self.0.due_webhooks(Duration::ZERO, max).await
    }

    async fn settle_webhook(&self, scope: &UserScope, run: &RunId, attempt: Attempt) -> Result<(), Error> {
        self.0.settle_webhook(scope, run, attempt).await
    }

    async fn webhooks(
        &self,
        scope: &UserScope,
        state: Option<WebhookState>,
        page: &PageRequest,
    ) -> Result<Page<WebhookRecord>, Error> {
        self.0.webhooks(scope, state, page).await
    }

    async fn resend_webhook(&self, scope: &UserScope, run: &RunId) -> Result<Option<WebhookRecord>, Error> {
        self.0.resend_webhook(scope, run).await
    }
}
