//! What a resumed run is told of its past, call by call, and what it need not say again.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use insula_agent::{CallSite, Error};

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
    /// The first call that nothing is known of.
    unknown_from: u32,
    /// Whether a call that nothing was known of has ended meanwhile.
    left_behind: AtomicBool,
    /// How many children the run waits for that are not run by it.
    elsewhere: AtomicU64,
    diverged: OnceLock<Diverged>,
}

/// Two sides that do not fit.
#[derive(Debug)]
struct Diverged {
    recorded: String,
    called: String,
}

impl History {
    pub(crate) fn new(mut recorded: Recorded) -> Self {
        let calls = std::mem::take(&mut recorded.calls);
        let unknown_from = calls.last_key_value().map_or(0, |(index, _)| index + 1);
        Self { recorded, calls: Mutex::new(calls), unknown_from, ..Self::default() }
    }

    fn calls(&self) -> MutexGuard<'_, BTreeMap<u32, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Whether a step that begins now may have begun before the worker was lost: its beginning would not be recorded. It
    /// may not once a later call than all recorded ones has ended here.
    pub(crate) fn may_repeat(&self) -> bool {
        self.is_resumed() && !self.left_behind.load(Ordering::Acquire)
    }

    /// Takes note that a call has ended.
    pub(crate) fn ended(&self, index: u32) {
        if index >= self.unknown_from {
            self.left_behind.store(true, Ordering::Release);
        }
    }

    /// Enters a wait for a child elsewhere, and says whether it is the only one.
    pub(crate) fn waits_elsewhere(&self) -> bool {
        self.elsewhere.fetch_add(1, Ordering::AcqRel) == 0
    }

    /// Leaves such a wait, and says whether it was the last one.
    pub(crate) fn is_back(&self) -> bool {
        self.elsewhere.fetch_sub(1, Ordering::AcqRel) == 1
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
