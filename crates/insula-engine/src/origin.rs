//! Where a run comes from, and how its journal begins.

use std::sync::Arc;

use insula_context::{Ceiling, Deadline, Timestamp, UserExecutionContext};
use insula_infra::{Claimed, Lease, NewRun, RunHeader};
use insula_registry::AgentClass;

use crate::{
    core::RunCore, events::Shown, history::History, journal::Journal, machine::Happened, options::RunOptions,
    platform::Platform, replay::Recorded,
};

/// Where a run comes from.
pub(crate) enum Origin {
    /// It is created by this call.
    Caller,
    /// It is created by a run that it is a child of, and runs under its permit.
    Child(Arc<RunCore>),
    /// It was taken from the queue, with what is recorded of it; `Err` says why it cannot be run here.
    Queue(Box<Claimed>, Box<Recorded>, Result<(), String>),
}

/// How a run begins here.
pub(crate) struct Opened {
    pub journal: Journal,
    /// What happened before it came here, if it is not simply to be started.
    pub before: Option<Happened>,
    pub history: History,
    /// When the run is to have ended, if somebody asked for that.
    pub due: Option<Timestamp>,
}

pub(crate) fn open_journal(
    platform: &Platform,
    context: &UserExecutionContext,
    class: &AgentClass,
    shown: &Shown,
    deadline: Option<Deadline>,
    origin: Origin,
    now: Timestamp,
) -> Opened {
    let (queue, clock) = (Arc::clone(&platform.backend.queue), Arc::clone(&platform.clock));
    let mut budget = Ceiling::default();
    let parent = match origin {
        Origin::Queue(claimed, recorded, runnable) => {
            let (lease, events, open) = (claimed.lease.clone(), claimed.run.events, recorded.open(now));
            let journal = Journal::resume(queue, clock, lease, events, open);
            let before = before_start(&claimed, &recorded, runnable);
            return Opened { journal, before, due: claimed.deadline, history: History::of(*recorded, &claimed) };
        }
        Origin::Child(parent) => {
            budget = parent.meter.left();
            Some(parent.context.run().clone())
        }
        Origin::Caller => None,
    };
    let header = Arc::new(RunHeader {
        scope: context.scope().clone(),
        thread: context.thread().clone(),
        run: context.run().clone(),
        parent,
        agent: Arc::clone(class.name()),
    });
    let lease = Lease { header: Arc::clone(&header), worker: platform.worker.clone(), token: 1 };
    let (input, payload) = shown.stored();
    let due = deadline.map(|deadline| now.plus(deadline.remaining()));
    let run = NewRun {
        payload,
        deadline: due,
        options: RunOptions { budget, ..RunOptions::of(context) }.stored(),
        ..NewRun::new(header, Arc::clone(class.version()), input, now)
    };
    let journal = Journal::create(queue, clock, lease, run, platform.limits().lease);
    Opened { journal, before: None, history: History::default(), due }
}

/// What is known of a claimed run before it is started.
fn before_start(claimed: &Claimed, recorded: &Recorded, runnable: Result<(), String>) -> Option<Happened> {
    if let Some(ending) = &recorded.ending {
        return Some(Happened::Ending(ending.clone()));
    }
    if let Some(reason) = &claimed.run.cancel {
        return Some(Happened::Stopped(reason.clone()));
    }
    runnable.err().map(|message| Happened::Refused { message })
}
