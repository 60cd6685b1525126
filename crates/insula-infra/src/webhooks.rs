//! What is to be told to whom when a run ends. The end of a run and that its call is due are one write, so no process that
//! is lost takes a call with it.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use serde::Serialize;

use crate::{Error, Page, PageRequest, RawJson, RunHeader};

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WebhookState {
    /// Its run has not ended.
    Waiting,
    /// It is to be made, or made again.
    Due,
    /// It was taken.
    Delivered,
    /// Nobody tries any more.
    Dead,
}

impl WebhookState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Due, Self::Delivered, Self::Dead];

    /// The stored and sent word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Due => "due",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A call as it is stored. A run has one at most, made by its [submission](crate::NewRun::webhook).
#[derive(Clone)]
pub struct WebhookRecord {
    /// Of which run.
    pub header: Arc<RunHeader>,
    /// Where and how, in the words of whoever delivers: the store does not read it.
    pub target: RawJson,
    /// Where it stands.
    pub state: WebhookState,
    /// How often it was tried: attempts of which somebody has said what came of them.
    pub attempts: u32,
    /// When it is to be tried next, while it is due.
    pub next_at: Option<Timestamp>,
    /// What came of the last attempt, in words.
    pub last_error: Option<String>,
    /// When its run ended.
    pub ended_at: Option<Timestamp>,
}

/// Without the target: there is a secret in it.
impl fmt::Debug for WebhookRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookRecord")
            .field("header", &self.header)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("next_at", &self.next_at)
            .field("last_error", &self.last_error)
            .field("ended_at", &self.ended_at)
            .finish_non_exhaustive()
    }
}

/// What came of an attempt.
#[derive(Debug, Clone)]
pub enum Attempt {
    /// It was taken.
    Delivered,
    /// It was not, and is to be tried again at this time.
    Again {
        /// When.
        at: Timestamp,
        /// Why not.
        error: String,
    },
    /// It was not, and nobody tries again.
    Dead {
        /// Why not.
        error: String,
    },
}

/// Calls of a user, and those of all users that are due.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// Takes up to `max` calls of all users whose time has come by the store's clock. They are not given to anybody else
    /// before `hold` has passed, and then are due again unless [settled](Webhooks::settle_webhook): at least once.
    /// For whoever delivers, and for nobody else.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn due_webhooks(&self, hold: Duration, max: usize) -> Result<Vec<WebhookRecord>, Error>;

    /// Writes down what came of an attempt. Nothing where the call is not due any more: its run is gone, or somebody else
    /// has made it.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn settle_webhook(&self, scope: &UserScope, run: &RunId, attempt: Attempt) -> Result<(), Error>;

    /// A user's calls, newest run first; of one state or of all.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn webhooks(
        &self,
        scope: &UserScope,
        state: Option<WebhookState>,
        page: &PageRequest,
    ) -> Result<Page<WebhookRecord>, Error>;

    /// Makes a call due now whose run has ended, whatever became of it before, and begins to count attempts anew. `None`
    /// when there is no such run, it has no call, or it has not ended.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn resend_webhook(&self, scope: &UserScope, run: &RunId) -> Result<Option<WebhookRecord>, Error>;
}
