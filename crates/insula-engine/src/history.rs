//! What a resumed run is told of its past, call by call, and what it need not say again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use insula_agent::{CallSite, Error};
use insula_context::Timestamp;
use insula_infra::{Claimed, RunStatus};
use serde_json::Value;

use crate::{
    events::CallKind,
    replay::{Call, Past, Recorded},
};

/// The recorded calls of a run that have not been asked for yet. Empty for a run that has no past.
#[derive(Debug, Default)]
pub(crate) struct History {
    recorded: Recorded,
    calls: Mutex<BTreeMap<u32, Call>>,
    customs: AtomicU64,
    /// Answers that were there when the run was claimed, by the question's place.
    answers: Mutex<BTreeMap<u32, Value>>,
    /// The store's clock at the claim.
    claimed_at: Option<Timestamp>,
    /// Whether it was parked.
    parked: bool,
    diverged: OnceLock<Diverged>,
}

/// How a run came to be run here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// It has never run.
    Fresh,
    /// It was parked.
    Woken,
    /// Its worker was lost, or handed it over.
    Lost,
}

/// Two sides that do not fit.
#[derive(Debug)]
struct Diverged {
    recorded: String,
    called: String,
}

impl History {
    /// What is recorded of a claimed run, and the answers that came with it.
    pub(crate) fn of(mut recorded: Recorded, claimed: &Claimed) -> Self {
        let calls = std::mem::take(&mut recorded.calls);
        let parsed = claimed.answers.iter().filter_map(|a| Some((a.index, serde_json::from_str(a.answer.get()).ok()?)));
        let answers = Mutex::new(parsed.collect());
        let (claimed_at, parked) = (Some(claimed.now), claimed.run.status == RunStatus::Waiting);
        Self { recorded, calls: Mutex::new(calls), answers, claimed_at, parked, ..Self::default() }
    }

    /// The store's clock at the claim; the beginning of time for a run that was not claimed.
    pub(crate) fn claimed_at(&self) -> Timestamp {
        self.claimed_at.unwrap_or(Timestamp::from_micros(i64::MIN))
    }

    /// The answer that was there when the run was claimed, once.
    pub(crate) fn answer(&self, index: u32) -> Option<Value> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&index)
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<u32, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the run came here.
    pub(crate) const fn came(&self) -> Came {
        match (self.is_resumed(), self.parked) {
            (false, _) => Came::Fresh,
            (true, true) => Came::Woken,
            (true, false) => Came::Lost,
        }
    }

    /// Whether the run was started before.
    pub(crate) const fn is_resumed(&self) -> bool {
        self.recorded.version.is_some()
    }

    pub(crate) fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Whether something is recorded that the agent has not come to yet.
    pub(crate) fn is_replaying(&self) -> bool {
        self.is_resumed() && self.calls().values().any(|call| call.past.is_settled())
    }

    /// Whether a thought was said before. `step` counts from 1.
    pub(crate) const fn knows_thought(&self, step: u64) -> bool {
        step <= self.recorded.thoughts
    }

    /// Whether the agent's next own event was said before.
    pub(crate) fn knows_custom(&self) -> bool {
        self.is_resumed() && self.customs.fetch_add(1, Ordering::Relaxed) < self.recorded.customs
    }

    /// What became of this call before, once; `None` when it is made for the first time.
    pub(crate) fn take(&self, site: &CallSite, kind: CallKind) -> Result<Option<Past>, Error> {
        self.agrees()?;
        if !self.is_resumed() {
            return Ok(None);
        }
        let Some(call) = self.calls().remove(&site.index) else { return Ok(None) };
        if (call.kind, &call.name) == (kind, &site.name) {
            return Ok(Some(call.past));
        }
        Err(self.diverge(words(call.kind, &call.name), words(kind, &site.name), site.index))
    }

    /// Takes note that code and record do not fit. Every later call fails as well: nothing more may be done.
    pub(crate) fn diverge(&self, recorded: String, called: String, index: u32) -> Error {
        let called = format!("{called} (call {index})");
        let Diverged { recorded, called } = self.diverged.get_or_init(|| Diverged { recorded, called });
        Error::Diverged { recorded: recorded.clone(), called: called.clone() }
    }

    /// Fails once code and record do not fit.
    pub(crate) fn agrees(&self) -> Result<(), Error> {
        match self.diverged.get() {
            Some(Diverged { recorded, called }) => {
                Err(Error::Diverged { recorded: recorded.clone(), called: called.clone() })
            }
            None => Ok(()),
        }
    }
}

/// A call in words.
pub(crate) fn words(kind: CallKind, name: &str) -> String {
    match kind {
        CallKind::Step => format!("the step \"{name}\""),
        CallKind::Tool => format!("the tool \"{name}\""),
        CallKind::Agent => format!("the agent \"{name}\""),
        CallKind::Answer => "a question".to_owned(),
        CallKind::Timer => "a pause".to_owned(),
        CallKind::Time => "the time".to_owned(),
        CallKind::Random => "a random number".to_owned(),
    }
}
