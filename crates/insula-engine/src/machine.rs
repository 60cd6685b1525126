//! The run's state machine: what was, what happened → what is, what to do. Pure; the driver carries it out.
//!
//! ```text
//! queued ─► running ─► completed
//!    │        │ ▲  └─► failed
//!    │        ▼ │
//!    │      waiting
//!    └────────┴───────► cancelled
//! ```

use insula_context::CancelReason;
use insula_infra::{FailReason, Failure, RunStatus, WaitFor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Running,
    Waiting(WaitFor),
    /// It is not this process's any more, and goes on later or elsewhere.
    Left,
    Ended(RunStatus),
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Happened {
    /// A permit and an instance are there.
    Admitted,
    /// The agent returned.
    Returned(Value),
    /// The agent returned an error.
    Errored { reason: FailReason, message: String, cause: Option<String> },
    /// The agent panicked.
    Panicked { cause: String },
    /// The time is up.
    TimedOut { limit: String },
    /// Somebody asked to stop it.
    Stopped(CancelReason),
    /// The agent waits for something outside.
    Waits(WaitFor),
    /// What it waited for came.
    Woken,
    /// It only waits, and has done so for a while.
    Quiet,
    /// The process is to end, and the run may go on elsewhere.
    HandedOver,
    /// Its worker was lost, and it cannot be resumed.
    Lost,
    /// It had ended before, and was being undone.
    Ending(Ending),
    /// It was taken from the queue by a process that cannot run it.
    Refused { message: String },
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Say `agent_started` and poll the agent.
    Start,
    /// Drop the agent's future and wait until it is gone.
    StopAgent,
    /// Write down what it waits for and give it back to the store.
    Park,
    /// Give it back to the store for whoever has room.
    HandOver,
    /// Say the terminal event and give everything back.
    End(Ending),
}

impl Command {
    /// The end that it says, if it says one.
    pub(crate) const fn ending(&self) -> Option<&Ending> {
        match self {
            Self::End(ending) => Some(ending),
            _ => None,
        }
    }
}

/// How a run ended, with what only the operator is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    Completed(Value),
    Failed { failure: Failure, cause: Option<String> },
    Cancelled(CancelReason),
}

impl Ending {
    pub(crate) const fn status(&self) -> RunStatus {
        match self {
            Self::Completed(_) => RunStatus::Completed,
            Self::Failed { .. } => RunStatus::Failed,
            Self::Cancelled(_) => RunStatus::Cancelled,
        }
    }
}

/// One step. What cannot happen in a phase changes nothing: a run's end is one fact.
pub(crate) fn step(phase: Phase, happened: Happened) -> (Phase, Vec<Command>) {
    use Happened as H;
    match (phase, happened) {
        (Phase::Queued, H::Admitted) => (Phase::Running, vec![Command::Start]),
        (Phase::Running | Phase::Waiting(_), H::Returned(Value::Null)) => {
            failed(FailReason::ReturnedNothing, "the agent ended without a result".to_owned(), None, vec![])
        }
        (Phase::Running | Phase::Waiting(_), H::Returned(result)) => end(Ending::Completed(result), vec![]),
        (Phase::Running | Phase::Waiting(_), H::Errored { reason, message, cause }) => {
            failed(reason, message, cause, vec![])
        }
        (Phase::Running | Phase::Waiting(_), H::Panicked { cause }) => {
            failed(FailReason::Panic, "the agent panicked".to_owned(), Some(cause), vec![])
        }
        (Phase::Running, H::Waits(reason)) => (Phase::Waiting(reason), vec![]),
        (Phase::Waiting(_), H::Woken) => (Phase::Running, vec![]),
        (Phase::Running | Phase::Waiting(_), H::Quiet) => (Phase::Left, vec![Command::Park]),
        (Phase::Queued | Phase::Running | Phase::Waiting(_), H::HandedOver) => (Phase::Left, vec![Command::HandOver]),
        (Phase::Queued | Phase::Running | Phase::Waiting(_), happened) => interrupted(phase, happened),
        (over @ (Phase::Left | Phase::Ended(_)), _) => (over, vec![]),
    }
}

/// What may happen at any time before the end.
fn interrupted(phase: Phase, happened: Happened) -> (Phase, Vec<Command>) {
    let stop = if phase == Phase::Queued { vec![] } else { vec![Command::StopAgent] };
    match happened {
        Happened::Stopped(reason) => end(Ending::Cancelled(reason), stop),
        Happened::TimedOut { limit } => {
            failed(FailReason::Timeout, format!("the run did not finish within {limit}"), None, stop)
        }
        Happened::Lost => {
            failed(FailReason::Lost, "the process that worked on the run was lost".to_owned(), None, vec![])
        }
        Happened::Ending(ending) => end(ending, vec![]),
        Happened::Refused { message } => failed(FailReason::Error, message, None, vec![]),
        _ => (phase, vec![]),
    }
}

fn failed(reason: FailReason, message: String, cause: Option<String>, before: Vec<Command>) -> (Phase, Vec<Command>) {
    end(Ending::Failed { failure: Failure { reason, message }, cause }, before)
}

fn end(ending: Ending, mut before: Vec<Command>) -> (Phase, Vec<Command>) {
    let status = ending.status();
    before.push(Command::End(ending));
    (Phase::Ended(status), before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn stop() -> Happened {
        Happened::Stopped(CancelReason::new("user", "enough"))
    }

    #[test]
    fn each_way_to_end_has_its_reason() {
        let table = [
            (Happened::Returned(Value::Null), FailReason::ReturnedNothing),
            (Happened::Errored { reason: FailReason::Error, message: "no".into(), cause: None }, FailReason::Error),
            (Happened::Panicked { cause: "boom".into() }, FailReason::Panic),
            (Happened::TimedOut { limit: "1s".into() }, FailReason::Timeout),
            (Happened::Lost, FailReason::Lost),
        ];
        for (happened, expected) in table {
            let (phase, commands) = step(Phase::Running, happened);
            assert_eq!(phase, Phase::Ended(RunStatus::Failed));
            let Some(Command::End(Ending::Failed { failure, .. })) = commands.last() else { panic!("{commands:?}") };
            assert_eq!(failure.reason, expected);
        }
    }

    #[test]
    fn a_stop_before_the_start_ends_a_run_that_never_ran() {
        let (phase, commands) = step(Phase::Queued, stop());
        assert_eq!(phase, Phase::Ended(RunStatus::Cancelled));
        assert_eq!(commands.len(), 1, "there is no agent to stop: {commands:?}");
    }

    fn happened() -> impl Strategy<Value = Happened> {
        prop_oneof![
            Just(Happened::Admitted),
            Just(Happened::Returned(json!(1))),
            Just(Happened::Returned(Value::Null)),
            Just(Happened::Errored { reason: FailReason::Error, message: "no".into(), cause: None }),
            Just(Happened::Panicked { cause: "boom".into() }),
            Just(Happened::TimedOut { limit: "1s".into() }),
            Just(stop()),
            Just(Happened::Waits(WaitFor::Human)),
            Just(Happened::Woken),
            Just(Happened::Quiet),
            Just(Happened::HandedOver),
            Just(Happened::Lost),
            Just(Happened::Refused { message: "unknown".into() }),
            Just(Happened::Ending(Ending::Completed(json!(2)))),
            Just(Happened::Ending(Ending::Cancelled(CancelReason::new("user", "enough")))),
        ]
    }

    proptest! {
        #[test]
        fn any_history_starts_at_most_once_and_ends_at_most_once(history in prop::collection::vec(happened(), 0..20)) {
            let (mut phase, mut commands) = (Phase::Queued, Vec::new());
            for happened in history {
                let (next, mut todo) = step(phase, happened);
                phase = next;
                commands.append(&mut todo);
            }
            let starts = commands.iter().filter(|c| **c == Command::Start).count();
            let ends = commands.iter().filter(|c| matches!(c, Command::End(_))).count();
            prop_assert!(starts <= 1 && ends <= 1);
            let leaves = commands.iter().filter(|c| matches!(c, Command::Park | Command::HandOver)).count();
            prop_assert!(ends + leaves <= 1, "what has left ends elsewhere");
            prop_assert_eq!(ends == 1, matches!(phase, Phase::Ended(_)));
            prop_assert_eq!(leaves == 1, phase == Phase::Left);
            if ends == 1 {
                prop_assert!(matches!(commands.last(), Some(Command::End(_))), "the end is last");
            }
        }
    }
}
