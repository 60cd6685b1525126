//! Looks for calls that are due and has them made, until the process ends.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use insula_context::{Cancellation, Clock};
use insula_infra::{Attempt, Backend, RunStore, WebhookRecord, Webhooks};
use tokio::{sync::Notify, time::Instant};

use super::{
    WebhookCounters, WebhookRules,
    attempt::Caller,
    desk::{Call, Desk, HOLD, Place},
    retries::{Failed, next_attempt},
};

/// How long a call may be due before somebody looks, unless told.
const LOOK: Duration = Duration::from_secs(1);
/// How many calls are taken from the store at a time.
const BATCH: usize = 64;

/// Delivers the calls of all users. One per process is enough; several processes share the calls.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use insula_context::{Canceller, SystemClock};
/// # use insula_server::webhooks::{Deliverer, WebhookRules};
/// # fn example(backend: &insula_infra::Backend) {
/// let shutdown = Canceller::new();
/// let deliverer = Deliverer::new(backend, WebhookRules::default(), Arc::new(SystemClock::new()));
/// let (counters, wake) = (deliverer.counters(), deliverer.wake());
/// tokio::spawn(deliverer.run(shutdown.cancellation(), Duration::from_secs(5)));
/// # }
/// ```
#[derive(Debug)]
pub struct Deliverer {
    courier: Courier,
    wake: Arc<Notify>,
}

impl Deliverer {
    /// On this storage, under these rules. Nothing is done before [`Deliverer::run`].
    pub fn new(backend: &Backend, rules: WebhookRules, clock: Arc<dyn Clock>) -> Self {
        let caller = Caller::new(rules, Arc::clone(&clock));
        let (webhooks, runs) = (Arc::clone(&backend.webhooks), Arc::clone(&backend.runs));
        let courier = Courier { webhooks, runs, caller, clock, counters: Arc::default() };
        Self { courier, wake: Arc::default() }
    }

    /// What came of attempts so far.
    pub fn counters(&self) -> Arc<WebhookCounters> {
        Arc::clone(&self.courier.counters)
    }

    /// Makes it look at once when it is notified, instead of within a second.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Delivers until `shutdown`. Attempts that are under way then have `grace` to end; what came of those that have not is
    /// not known, so they are made again by whoever looks next. Dropping the future is a shutdown without grace.
    pub async fn run(self, shutdown: Cancellation, grace: Duration) {
        let mut desk = Desk::default();
        let mut under_way = FuturesUnordered::new();
        let mut look = Box::pin(self.look(Duration::ZERO));
        loop {
            while let Some(call) = desk.next(Instant::now()) {
                under_way.push(self.courier.deliver(call));
            }
            tokio::select! {
                biased;
                _ = shutdown.cancelled() => break,
                Some(place) = under_way.next() => desk.made(&place),
                due = &mut look, if desk.has_room() => {
                    let rest = if due.len() < BATCH { LOOK } else { Duration::ZERO };
                    desk.take_in(due, Instant::now());
                    look.set(self.look(rest));
                }
            }
        }
        let drained = under_way.for_each(|_| std::future::ready(()));
        let _some_may_be_left = tokio::time::timeout(grace, drained).await;
    }

    /// Waits so long, or until somebody says that there is something, and takes what is due.
    async fn look(&self, rest: Duration) -> Vec<WebhookRecord> {
        let _either_way = tokio::time::timeout(rest, self.wake.notified()).await;
        self.courier.webhooks.due_webhooks(HOLD, BATCH).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "webhooks that are due could not be read");
            Vec::new()
        })
    }
}

/// Makes one call and writes down what came of it.
struct Courier {
    webhooks: Arc<dyn Webhooks>,
    runs: Arc<dyn RunStore>,
    caller: Caller,
    clock: Arc<dyn Clock>,
    counters: Arc<WebhookCounters>,
}

impl Courier {
    async fn deliver(&self, call: Call) -> Place {
        if let Some(attempt) = self.attempt(&call).await {
            self.counters.count(&attempt);
            self.settle(&call.record, attempt).await;
        }
        call.place()
    }

    /// `None` when the run cannot be read just now: the call comes again when its hold has run out.
    async fn attempt(&self, call: &Call) -> Option<Attempt> {
        let header = &call.record.header;
        let Some(target) = &call.target else {
            return Some(Attempt::Dead { error: "the stored target cannot be read".to_owned() });
        };
        let run = match self.runs.run(&header.scope, &header.run).await {
            Ok(Some(run)) => run,
            Ok(None) => return Some(Attempt::Dead { error: "the run is not kept any more".to_owned() }),
            Err(error) => {
                tracing::warn!(run = %header.run, %error, "a run whose end is to be told cannot be read just now");
                return None;
            }
        };
        Some(match self.caller.call(target, &run).await {
            Ok(()) => Attempt::Delivered,
            Err(failed) => self.after(&call.record, failed),
        })
    }

    fn after(&self, record: &WebhookRecord, failed: Failed) -> Attempt {
        let attempts = record.attempts.saturating_add(1);
        let next = next_attempt(attempts, self.clock.now(), failed);
        if let Attempt::Dead { .. } = next {
            tracing::warn!(run = %record.header.run, attempts, "a webhook was given up");
        }
        next
    }

    async fn settle(&self, record: &WebhookRecord, attempt: Attempt) {
        let header = &record.header;
        if let Err(error) = self.webhooks.settle_webhook(&header.scope, &header.run, attempt).await {
            tracing::warn!(run = %header.run, %error, "what came of a webhook could not be written, and it is sent again");
        }
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier")
            .field("caller", &self.caller)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
