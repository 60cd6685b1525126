//! Calls: those of an owner, and which of all owners' are due.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, ThreadId, Timestamp, UserScope};

use super::{
    owner::Owner,
    shard::{Map, lock},
    store::Store,
};
use crate::{Attempt, Error, Page, PageRequest, RawJson, RunHeader, RunRecord, WebhookRecord, WebhookState, Webhooks};

/// When calls are to be made, the next one first.
pub(super) type Bell = BTreeSet<(Timestamp, UserScope, RunId)>;

/// An owner's calls.
pub(super) type Calls = Map<RunId, Call>;

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    /// The number of its run among the owner's.
    number: u64,
    record: WebhookRecord,
}

impl Call {
    pub(super) fn new(number: u64, header: Arc<RunHeader>, target: RawJson) -> Self {
        let (state, attempts) = (WebhookState::Waiting, 0);
        Self {
            number,
            record: WebhookRecord { header, target, state, attempts, next_at: None, last_error: None, ended_at: None },
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.record.state == WebhookState::Dead
    }

    /// Whether somebody is still to make it.
    pub(super) fn is_due(&self) -> bool {
        self.record.state == WebhookState::Due
    }

    fn take_note(&mut self, attempt: Attempt) {
        let (state, next_at, last_error) = match attempt {
            Attempt::Delivered => (WebhookState::Delivered, None, None),
            Attempt::Again { at, error } => (WebhookState::Due, Some(at), Some(error)),
            Attempt::Dead { error } => (WebhookState::Dead, None, Some(error)),
        };
        let attempts = self.record.attempts + 1;
        self.record = WebhookRecord { state, attempts, next_at, last_error, ..self.record.clone() };
    }

    fn begin_anew(&mut self, now: Timestamp) {
        let (state, next_at) = (WebhookState::Due, Some(now));
        self.record = WebhookRecord { state, attempts: 0, next_at, last_error: None, ..self.record.clone() };
    }
}

#[async_trait]
impl Webhooks for Store {
    async fn due_webhooks(&self, hold: Duration, max: usize) -> Result<Vec<WebhookRecord>, Error> {
        let now = self.clock.now();
        let due: Vec<_> = lock(&self.bell).iter().take_while(|(at, ..)| *at <= now).take(max).cloned().collect();
        Ok(due.iter().filter_map(|(_, scope, run)| self.hold_call(scope, run, now, hold)).collect())
    }

    async fn settle_webhook(&self, scope: &UserScope, run: &RunId, attempt: Attempt) -> Result<(), Error> {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get_mut(scope) else { return Ok(()) };
        let Some(call) = owner.calls.get_mut(run).filter(|call| call.is_due()) else { return Ok(()) };
        let from = call.record.next_at;
        call.take_note(attempt);
        self.move_call(scope, run, from, call.record.next_at);
        owner.forget_call_of_nobody(run);
        shard.drop_if_empty(scope);
        Ok(())
    }

    async fn webhooks(
        &self,
        scope: &UserScope,
        state: Option<WebhookState>,
        page: &PageRequest,
    ) -> Result<Page<WebhookRecord>, Error> {
        let before = match &page.cursor {
            None => u64::MAX,
            Some(cursor) => cursor.parse().map_err(|_| Error::InvalidCursor { cursor: cursor.clone() })?,
        };
        let calls = self.read(scope, |owner| Some(owner.calls(state, before, page.limit.max(1))));
        Ok(calls.unwrap_or(Page { items: Vec::new(), next: None }))
    }

    async fn resend_webhook(&self, scope: &UserScope, run: &RunId) -> Result<Option<WebhookRecord>, Error> {
        let mut shard = self.shards.lock(scope);
        let Some(owner) = shard.owners.get_mut(scope) else { return Ok(None) };
        let ended = owner.calls.get_mut(run).filter(|call| call.record.state != WebhookState::Waiting);
        let Some(call) = ended else { return Ok(None) };
        let from = call.record.next_at;
        call.begin_anew(self.clock.now());
        self.move_call(scope, run, from, call.record.next_at);
        Ok(Some(call.record.clone()))
    }
}

impl Store {
    /// Gives a call to one who makes it, and to nobody else for a while. Between two locks it may have moved: then it is
    /// not due any more.
    fn hold_call(&self, scope: &UserScope, run: &RunId, now: Timestamp, hold: Duration) -> Option<WebhookRecord> {
        let mut shard = self.shards.lock(scope);
        let call = shard.owners.get_mut(scope)?.calls.get_mut(run)?;
        let from = call.record.next_at.filter(|at| *at <= now)?;
        call.record.next_at = Some(now.plus(hold));
        self.move_call(scope, run, Some(from), call.record.next_at);
        Some(call.record.clone())
    }

    /// The call of a run that has just ended is due.
    pub(super) fn ring(&self, calls: &mut Calls, run: &RunRecord) {
        let Some(call) = calls.get_mut(&run.header.run) else { return };
        let now = self.clock.now();
        call.begin_anew(now);
        call.record.ended_at = run.ended_at;
        self.move_call(&run.header.scope, &run.header.run, None, Some(now));
    }

    /// Nobody makes the calls of an owner any more who is gone.
    pub(super) fn forget_calls(&self, scope: &UserScope, calls: &Calls) {
        calls.iter().for_each(|(run, call)| self.move_call(scope, run, call.record.next_at, None));
    }

    fn move_call(&self, scope: &UserScope, run: &RunId, from: Option<Timestamp>, to: Option<Timestamp>) {
        let mut bell = lock(&self.bell);
        let place = |at| (at, scope.clone(), run.clone());
        if let Some(from) = from {
            bell.remove(&place(from));
        }
        bell.extend(to.map(place));
    }
}

impl Owner {
    fn calls(&self, state: Option<WebhookState>, before: u64, limit: usize) -> Page<WebhookRecord> {
        let listed = |call: &&Call| call.number < before && state.is_none_or(|state| state == call.record.state);
        let mut found: Vec<_> = self.calls.values().filter(listed).collect();
        found.sort_unstable_by_key(|call| std::cmp::Reverse(call.number));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|call| call.number.to_string());
        Page { items: found.into_iter().map(|call| call.record.clone()).collect(), next }
    }

    /// Drops a call whose run was forgotten, unless somebody is still to make it.
    pub(super) fn forget_call_of_nobody(&mut self, run: &RunId) {
        if !self.runs.contains_key(run) && self.calls.get(run).is_some_and(|call| !call.is_due()) {
            self.calls.remove(run);
        }
    }

    /// Takes out the calls of a thread.
    pub(super) fn take_calls(&mut self, thread: &ThreadId) -> Calls {
        self.calls.extract_if(|_, call| call.record.header.thread == *thread).collect()
    }
}
