//! What is said of a run's end.

use std::time::Duration;

use insula_agent::{Error as AgentError, ToolFailure};
use insula_context::Timestamp;
use insula_infra::{EventType, FailReason, Failure, NewEvent, Payload, RunChange};

use crate::{
    Usage,
    core::RunCore,
    events::{self, Shown},
    machine::{Ending, Happened},
    redact,
};

pub(crate) fn errored(error: &AgentError) -> Happened {
    let reason = match error {
        AgentError::Tool { failure: ToolFailure::Timeout { .. }, .. } => FailReason::Timeout,
        AgentError::Child { reason, .. } if reason == FailReason::Timeout.as_str() => FailReason::Timeout,
        AgentError::Tool { failure: ToolFailure::Budget { .. }, .. } => FailReason::Budget,
        AgentError::Child { reason, .. } if reason == FailReason::Budget.as_str() => FailReason::Budget,
        _ => FailReason::Error,
    };
    Happened::Errored { reason, message: redact::message(&error.to_string()), cause: causes(error) }
}

/// Every source of an error, outermost first.
fn causes(error: &AgentError) -> Option<String> {
    let first = std::error::Error::source(error)?;
    let chain = std::iter::successors(Some(first), |error| error.source());
    Some(chain.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

pub(crate) fn terminal(
    run: &RunCore,
    ending: &Ending,
    usage: Usage,
    now: Timestamp,
) -> (NewEvent, Option<Payload>, RunChange) {
    let duration_ms = events::millis(run.age());
    match ending {
        Ending::Completed(result) => match events::show("the result", result) {
            Ok(shown) => completed(usage, shown, now, duration_ms),
            Err(error) => {
                let failure = Failure { reason: FailReason::Error, message: error.to_string() };
                terminal(run, &Ending::Failed { failure, cause: None }, usage, now)
            }
        },
        Ending::Failed { failure, cause } => {
            let said = events::Failed { reason: failure.reason, message: &failure.message, duration_ms };
            let mut event = events::event(EventType::AgentFailed, now, &said);
            if let Some(cause) = cause {
                tracing::error!(run = %run.context.run(), reason = failure.reason.as_str(), cause, "the run failed");
                event.journal = events::raw("the cause", &events::Cause { cause }).ok();
            }
            (event, None, RunChange::Failed(failure.clone()))
        }
        Ending::Cancelled(reason) => {
            let event = events::event(EventType::AgentCancelled, now, &events::Cancelled { reason, duration_ms });
            (event, None, RunChange::Cancelled(reason.clone()))
        }
    }
}

fn completed(usage: Usage, shown: Shown, now: Timestamp, duration_ms: f64) -> (NewEvent, Option<Payload>, RunChange) {
    let Shown { shown, whole, payload } = shown;
    let said = events::Completed { result: &shown, usage, duration_ms };
    let mut event = events::event(EventType::AgentCompleted, now, &said);
    event.journal = whole;
    (event, payload, RunChange::Completed { result: shown })
}

/// A duration without the microseconds that passed since somebody configured it.
pub(crate) fn round(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}
