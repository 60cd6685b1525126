//! What HTTP and the socket both do: submit, stop, answer.

use insula_context::{CancelReason, Ceiling, RunId, ThreadId, UserScope};
use insula_engine::{AnswerTo, RunRequest};
use insula_infra::{AnswerRequest, RawJson, RunRecord};
use serde_json::Value;

use crate::{
    http::origin::Origin,
    problem::{Kind, Problem},
    service::Service,
    webhooks::Target,
    wire::{Answered, NewRun, Stopped},
};

/// The longest key of a submission, in bytes.
const KEY_BYTES: usize = 255;

/// A run that is to be made, and what came with it.
pub(crate) struct Submission<'a> {
    pub origin: &'a Origin,
    pub scope: &'a UserScope,
    pub run: NewRun,
    pub key: Option<String>,
}

/// Hands a run to the queue. Durable when it returns.
pub(crate) async fn submit(server: &Service, submission: Submission<'_>) -> Result<RunRecord, Problem> {
    if server.draining.is_cancelled() {
        return Err(Problem::shutting_down());
    }
    let Submission { origin, scope, run, key } = submission;
    let request = origin.submit(request(server, run)?);
    let request = match key {
        Some(key) => request.idempotency_key(checked_key(key)?),
        None => request,
    };
    let run = server.engine.submit(scope, request).await?;
    record(server, scope, &run).await
}

fn checked_key(key: String) -> Result<String, Problem> {
    let fits = !key.trim().is_empty() && key.len() <= KEY_BYTES && !key.chars().any(char::is_control);
    if fits { Ok(key) } else { Err(Problem::new(Kind::InvalidRequest, "the idempotency key has 1 to 255 characters")) }
}

/// A run of this user.
pub(crate) async fn record(server: &Service, scope: &UserScope, run: &RunId) -> Result<RunRecord, Problem> {
    server.engine.backend().runs.run(scope, run).await?.ok_or_else(|| Problem::absent("run"))
}

fn request(server: &Service, run: NewRun) -> Result<RunRequest, Problem> {
    let now = server.engine.clock().now();
    let begins = match (run.delay, run.at) {
        (Some(_), Some(_)) => return Err(Problem::new(Kind::InvalidRequest, "give delay or at, not both")),
        (Some(delay), None) => Some(now.plus(delay.from(now))),
        (None, at) => at,
    };
    let budget = run.budget;
    let budget = Ceiling {
        tokens: budget.tokens,
        money: budget.money,
        tool_calls: budget.tool_calls,
        bytes: budget.bytes,
        millis: budget.millis,
    };
    let mut request = RunRequest::new(run.agent, run.input).policy(run.policy).priority(run.priority).budget(budget);
    if let Some(thread) = run.thread_id {
        request = request.thread(ThreadId::new(thread)?);
    }
    if let Some(id) = run.run_id {
        request = request.run(RunId::new(id)?);
    }
    if let Some(at) = begins {
        request = request.at(at);
    }
    if let Some(deadline) = run.deadline {
        request = request.timeout(within(deadline.from(begins.unwrap_or(now).max(now)))?);
    }
    match run.webhook {
        Some(order) => Ok(request.webhook(target(server, &order)?)),
        None => Ok(request),
    }
}

/// A deadline that has not passed.
fn within(time: std::time::Duration) -> Result<std::time::Duration, Problem> {
    if time.is_zero() { Err(Problem::new(Kind::InvalidRequest, "the deadline has passed")) } else { Ok(time) }
}

fn target(server: &Service, order: &crate::wire::WebhookOrder) -> Result<RawJson, Problem> {
    let target = serde_json::to_value(order).unwrap_or_default();
    match Target::check(&target, &server.settings.webhooks) {
        Ok(target) => Ok(target.stored()),
        Err(violations) => {
            let detail = format!("the webhook is refused: {}", violations.join("; "));
            Err(Problem::new(Kind::InvalidInput, detail).with("violations", violations))
        }
    }
}

/// Asks to stop a run.
pub(crate) async fn cancel(
    server: &Service,
    scope: &UserScope,
    run: &str,
    reason: Option<String>,
) -> Result<(RunId, Stopped), Problem> {
    let run = RunId::new(run)?;
    let asked = server.engine.cancel(scope, &run, reason_of(reason)?).await?;
    Ok((run, asked.into()))
}

/// The longest reason, in bytes.
const REASON_BYTES: usize = 1_000;

pub(crate) fn reason_of(reason: Option<String>) -> Result<CancelReason, Problem> {
    let reason = reason.unwrap_or_else(|| "asked to stop".to_owned());
    if reason.len() > REASON_BYTES {
        return Err(Problem::new(Kind::InvalidRequest, format!("a reason has at most {REASON_BYTES} bytes")));
    }
    Ok(CancelReason::new("user", reason))
}

/// Answers a question of a run.
pub(crate) async fn answer(
    server: &Service,
    scope: &UserScope,
    run: &str,
    (answer, question): (Value, Option<u32>),
) -> Result<(RunId, Answered), Problem> {
    let run = RunId::new(run)?;
    let given = match question {
        Some(index) => AnswerTo::question(index, answer),
        None => AnswerTo::the_oldest(answer),
    };
    let recorded = server.engine.answer(scope, &run, given.by(scope.user().as_str())).await?;
    match recorded.ok_or_else(|| Problem::absent("open question"))? {
        AnswerRequest::Recorded => Ok((run, Answered::Recorded)),
        AnswerRequest::Answered => {
            Err(Problem::new(Kind::Conflict, "somebody has answered before, and that answer is kept"))
        }
        AnswerRequest::Expired => Err(Problem::new(Kind::Conflict, "the question has expired")),
    }
}
