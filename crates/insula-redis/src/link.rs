//! Whether Redis answers, and how long anybody waits to find out.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::{
    clients::Client,
    error::ErrorKind,
    interfaces::LuaInterface,
    types::{Value, scripts::Script},
};
use insula_context::{Clock, Timestamp};
use insula_infra::Error;
use tokio::sync::watch;

pub(crate) const COMPONENT: &str = "Redis";

/// The way to Redis. While nothing comes back on it, commands fail at once instead of each waiting in vain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) answer_within: Duration,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    answers: watch::Sender<bool>,
}

/// How it is, and since when.
#[derive(Debug, Clone)]
pub(crate) struct State {
    pub(crate) since: Timestamp,
    /// Why it does not answer; `None` when it does.
    pub(crate) away: Option<Arc<Away>>,
}

/// Why Redis does not answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Away(String);

impl Link {
    pub(crate) fn new(client: Client, answer_within: Duration, clock: Arc<dyn Clock>) -> Self {
        let away = Some(Arc::new(Away("not connected yet".to_owned())));
        let state = Mutex::new(State { since: clock.now(), away });
        Self { client, answer_within, clock, state, answers: watch::Sender::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    pub(crate) fn is_up(&self) -> bool {
        *self.answers.borrow()
    }

    /// Waits until Redis answers. Cancellation safe.
    pub(crate) async fn up(&self) {
        // The sender lives in self, so this does not fail.
        let mut answers = self.answers.subscribe();
        let _never_fails = answers.wait_for(|answers| *answers).await;
    }

    /// Redis answers on both connections. Says whether that is new.
    pub(crate) fn found(&self) -> bool {
        let mut state = self.lock();
        let was_away = state.away.take().is_some();
        if was_away {
            state.since = self.clock.now();
            self.answers.send_replace(true);
        }
        was_away
    }

    /// Redis does not answer. Says whether that is new.
    pub(crate) fn lost(&self, why: String) -> bool {
        let mut state = self.lock();
        let was_up = state.away.is_none();
        if was_up {
            state.since = self.clock.now();
            self.answers.send_replace(false);
        }
        state.away = Some(Arc::new(Away(why)));
        was_up
    }

    /// Runs a command within the time allowed.
    pub(crate) async fn ask<T>(
        &self,
        operation: &'static str,
        command: impl Future<Output = Result<T, fred::error::Error>> + Send,
    ) -> Result<T, Error> {
        if let Some(away) = self.state().away {
            return Err(Error::Unavailable { operation, component: COMPONENT, source: Some(away) });
        }
        let answer = tokio::time::timeout(self.answer_within, command).await;
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => fred::error::Error::new(ErrorKind::Timeout, "no answer in time"),
        };
        if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Backpressure) {
            self.lost(format!("{operation}: {error}"));
        }
        Err(self.error(operation, error))
    }

    fn error(&self, operation: &'static str, error: fred::error::Error) -> Error {
        match error.kind() {
            ErrorKind::Timeout => Error::Timeout { operation, after: self.answer_within },
            _ => Error::Unavailable { operation, component: COMPONENT, source: Some(Arc::new(error)) },
        }
    }

    /// Runs a script, which Redis is told in full when it does not know it: after a restart, a flush, a failover.
    pub(crate) async fn run(
        &self,
        operation: &'static str,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Value, Error> {
        let client = &self.client;
        self.ask(operation, async move {
            let hash = script.sha1().clone();
            match client.evalsha(hash, keys.clone(), arguments.clone()).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    client.eval(script.lua().cloned().unwrap_or_default(), keys, arguments).await
                }
                answer => answer,
            }
        })
        .await
    }
}
