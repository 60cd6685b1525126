//! What is asked for when a run is handed to the queue.

use std::{fmt, time::Duration};

use insula_context::{Ceiling, RunId, ThreadId, Timestamp};
use insula_infra::ThreadPolicy;
use serde_json::Value;

/// A run that is handed to the queue.
///
/// ```
/// use std::time::Duration;
/// use insula_engine::{RunRequest, ThreadPolicy};
/// use serde_json::json;
///
/// let tonight = RunRequest::new("digest", json!({"of": "today"}))
///     .delay(Duration::from_secs(8 * 3_600))
///     .policy(ThreadPolicy::Interrupt)
///     .idempotency_key("digest-2026-03-01");
/// ```
#[derive(Clone)]
pub struct RunRequest {
    pub(crate) agent: String,
    pub(crate) input: Value,
    pub(crate) thread: Option<ThreadId>,
    pub(crate) run: Option<RunId>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) budget: Ceiling,
    pub(crate) policy: ThreadPolicy,
    pub(crate) priority: i16,
    pub(crate) begin: Begin,
    pub(crate) webhook: Option<Value>,
}

/// Without what is told to whom: that has a secret in it.
impl fmt::Debug for RunRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunRequest")
            .field("agent", &self.agent)
            .field("input", &self.input)
            .field("thread", &self.thread)
            .field("run", &self.run)
            .field("begin", &self.begin)
            .field("webhook", &self.webhook.is_some())
            .finish_non_exhaustive()
    }
}

/// When a run may begin.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Begin {
    AtOnce,
    After(Duration),
    At(Timestamp),
}

impl Begin {
    /// Not before this time; nothing when it may begin at once.
    pub(crate) fn time(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::AtOnce => None,
            Self::After(delay) => (!delay.is_zero()).then(|| now.plus(delay)),
            Self::At(time) => (time > now).then_some(time),
        }
    }
}

impl RunRequest {
    /// A run of an agent class, in a thread of its own.
    pub fn new(agent: impl Into<String>, input: Value) -> Self {
        let (thread, run, timeout, idempotency_key, budget, policy, priority, webhook) = Default::default();
        let (agent, begin) = (agent.into(), Begin::AtOnce);
        Self { agent, input, thread, run, timeout, idempotency_key, budget, policy, priority, begin, webhook }
    }

    /// In this conversation.
    #[must_use]
    pub fn thread(mut self, thread: ThreadId) -> Self {
        self.thread = Some(thread);
        self
    }

    /// Under this id.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// To have ended within this time, its waiting included: from now on, or from the time before which it may not begin.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// To spend no more than this, its children included. Where its class has a lower budget, that one counts.
    #[must_use]
    pub fn budget(mut self, budget: Ceiling) -> Self {
        self.budget = budget;
        self
    }

    /// A second submission with the same key answers with the first one's run.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// What it does when other runs that were submitted are under way in its thread. It waits for them otherwise.
    #[must_use]
    pub fn policy(mut self, policy: ThreadPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Who is to be told of its end, in the words of whoever delivers: see [`insula_infra::webhooks`]. It is kept beside the
    /// run, and stands neither in its events nor in its record.
    #[must_use]
    pub fn webhook(mut self, target: Value) -> Self {
        self.webhook = Some(target);
        self
    }

    /// Higher ones begin before the user's others that could begin as well; 0 otherwise. It moves nobody else's runs.
    #[must_use]
    pub fn priority(mut self, priority: i16) -> Self {
        self.priority = priority;
        self
    }

    /// To begin no earlier than so long from now. In place of [`RunRequest::at`].
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.begin = Begin::After(delay);
        self
    }

    /// To begin no earlier than at this time; one that has passed is now. In place of [`RunRequest::delay`].
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        self.begin = Begin::At(time);
        self
    }
}
