//! Runs: submitted, listed, stopped, answered, run again.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use insula_context::{Deadline, RunId, ThreadId, UserScope};
use insula_infra::{RawJson, RunFilter, RunRecord, RunStatus};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{page::Part, submit};
use crate::{
    http::{
        caller::{Reader, Writer},
        envelope,
        extract::{Body, MaybeBody, Path, Query},
        origin::Origin,
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    wire::{Answer, AnsweredRun, CancelAll, CancelOrder, Cancelled, CancelledAll, List, NewRun, Run},
};

/// How long a lost signal can delay whoever waits for a run's end.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long to wait for a run's end.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by the outermost layer as well, which gives the request its time")]
pub(crate) struct Wait {
    /// A duration up to five minutes, `30s` for example.
    wait: Option<String>,
}

/// Submits a run.
#[utoipa::path(post, path = "/v1/runs", tag = "runs", params(Wait, ("Idempotency-Key" = Option<String>, Header)),
    request_body = NewRun,
    responses((status = 200, body = Run, description = "it has ended meanwhile"),
              (status = 202, body = Run, description = "it is accepted"),
              (status = "default", body = ProblemBody)))]
pub(crate) async fn create(
    State(server): State<Service>,
    caller: Writer,
    origin: Origin,
    uri: Uri,
    headers: HeaderMap,
    Body(run): Body<NewRun>,
) -> Result<(StatusCode, Json<Run>), Problem> {
    let wait = envelope::wait(&uri)?;
    let key = idempotency_key(&headers)?;
    let scope = caller.scope();
    let record = submit::submit(&server, submit::Submission { origin: &origin, scope, run, key }).await?;
    let record = match wait {
        Some(wait) => ended(&server, scope, record, wait).await?,
        None => record,
    };
    let status = if record.status.is_terminal() && wait.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(whole(&server, scope, record).await?)))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    match key.to_str() {
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => Err(Problem::new(Kind::InvalidRequest, "Idempotency-Key is not printable text")),
    }
}

/// The run when it has ended, or as it stands when the time is over or the server goes down.
async fn ended(
    server: &Service,
    scope: &UserScope,
    mut record: RunRecord,
    wait: Duration,
) -> Result<RunRecord, Problem> {
    let backend = server.engine.backend();
    let deadline = Deadline::after(wait);
    // Before the first look: what is written in between is told.
    let mut news = backend.signals.watch(scope, &record.header.thread);
    loop {
        if let Some(now) = backend.runs.run(scope, &record.header.run).await? {
            record = now;
        }
        if record.status.is_terminal() || deadline.has_passed() || server.closing.is_cancelled() {
            return Ok(record);
        }
        tokio::select! {
            _ = news.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN.min(deadline.remaining())) => {}
            () = server.closing.cancelled() => {}
        }
    }
}

/// A run with its input and result, also where those are kept by reference.
async fn whole(server: &Service, scope: &UserScope, record: RunRecord) -> Result<Run, Problem> {
    let input = value(server, scope, &record.input).await?;
    let result = match &record.result {
        Some(result) => Some(value(server, scope, result).await?),
        None => None,
    };
    Ok(Run { input: Some(input), result, ..Run::from(record) })
}

/// Where a value that is kept by reference begins.
const REFERENCE: &str = "{\"$payload\":";

async fn value(server: &Service, scope: &UserScope, kept: &RawJson) -> Result<RawJson, Problem> {
    if !kept.get().starts_with(REFERENCE) {
        return Ok(RawJson::clone(kept));
    }
    let value = server.engine.whole(scope, kept).await?;
    let text = serde_json::value::to_raw_value(&value);
    text.map(Into::into).map_err(|error| Problem::internal(&error))
}

/// Which runs.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only of this conversation.
    thread_id: Option<String>,
    /// Only with this status.
    status: Option<String>,
    /// Only of this agent class.
    agent: Option<String>,
    /// Only children of this run.
    parent_run_id: Option<String>,
}

impl Filter {
    fn read(self) -> Result<RunFilter, Problem> {
        let status = self.status.map(|word| {
            let known = || RunStatus::ALL.map(RunStatus::as_str).join(", ");
            RunStatus::parse(&word)
                .ok_or_else(|| Problem::new(Kind::InvalidRequest, format!("status is one of {}", known())))
        });
        Ok(RunFilter {
            thread: self.thread_id.map(ThreadId::new).transpose()?,
            status: status.transpose()?,
            agent: self.agent,
            parent: self.parent_run_id.map(RunId::new).transpose()?,
        })
    }
}

/// The user's runs, newest first.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(Filter, Part),
    responses((status = 200, body = List<Run>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(
    State(server): State<Service>,
    caller: Reader,
    Query(filter): Query<Filter>,
    Query(part): Query<Part>,
) -> Result<Json<List<Run>>, Problem> {
    let page = server.engine.backend().runs.runs(caller.scope(), &filter.read()?, &part.request()?).await?;
    Ok(Json(List::of(page, Run::from)))
}

/// One run.
#[utoipa::path(get, path = "/v1/runs/{run_id}", tag = "runs", params(("run_id" = String, Path)),
    responses((status = 200, body = Run), (status = "default", body = ProblemBody)))]
pub(crate) async fn one(
    State(server): State<Service>,
    caller: Reader,
    Path(run): Path<String>,
) -> Result<Json<Run>, Problem> {
    let record = submit::record(&server, caller.scope(), &RunId::new(run)?).await?;
    Ok(Json(whole(&server, caller.scope(), record).await?))
}

/// Asks to stop a run, also one that does not exist yet.
#[utoipa::path(post, path = "/v1/runs/{run_id}/cancel", tag = "runs", params(("run_id" = String, Path)),
    request_body(content = Option<CancelOrder>),
    responses((status = 202, body = Cancelled), (status = "default", body = ProblemBody)))]
pub(crate) async fn cancel(
    State(server): State<Service>,
    caller: Writer,
    Path(run): Path<String>,
    MaybeBody(order): MaybeBody<CancelOrder>,
) -> Result<(StatusCode, Json<Cancelled>), Problem> {
    let (run, cancel) = submit::cancel(&server, caller.scope(), &run, order.reason).await?;
    Ok((StatusCode::ACCEPTED, Json(Cancelled { run_id: run.to_string(), cancel })))
}

/// Asks to stop all runs of a filter.
#[utoipa::path(post, path = "/v1/runs/cancel", tag = "runs", request_body(content = Option<CancelAll>),
    responses((status = 202, body = CancelledAll), (status = "default", body = ProblemBody)))]
pub(crate) async fn cancel_all(
    State(server): State<Service>,
    caller: Writer,
    MaybeBody(order): MaybeBody<CancelAll>,
) -> Result<(StatusCode, Json<CancelledAll>), Problem> {
    let thread = order.thread_id.map(ThreadId::new).transpose()?;
    let filter = RunFilter { thread, agent: order.agent, ..RunFilter::default() };
    let runs = server.engine.cancel_all(caller.scope(), &filter, submit::reason_of(order.reason)?).await?;
    let run_ids = runs.iter().map(ToString::to_string).collect();
    Ok((StatusCode::ACCEPTED, Json(CancelledAll { run_ids })))
}

/// Answers a question of a run.
#[utoipa::path(post, path = "/v1/runs/{run_id}/answer", tag = "runs", params(("run_id" = String, Path)),
    request_body = Answer,
    responses((status = 200, body = AnsweredRun), (status = "default", body = ProblemBody)))]
pub(crate) async fn answer(
    State(server): State<Service>,
    caller: Writer,
    Path(run): Path<String>,
    Body(given): Body<Answer>,
) -> Result<Json<AnsweredRun>, Problem> {
    let (run, answer) = submit::answer(&server, caller.scope(), &run, (given.answer, given.question)).await?;
    Ok(Json(AnsweredRun { run_id: run.to_string(), answer }))
}

/// Submits a run again.
#[utoipa::path(post, path = "/v1/runs/{run_id}/retry", tag = "runs", params(("run_id" = String, Path)),
    responses((status = 202, body = Run), (status = "default", body = ProblemBody)))]
pub(crate) async fn retry(
    State(server): State<Service>,
    caller: Writer,
    Path(run): Path<String>,
) -> Result<(StatusCode, Json<Run>), Problem> {
    if server.draining.is_cancelled() {
        return Err(Problem::shutting_down());
    }
    let again = server.engine.retry(caller.scope(), &RunId::new(run)?).await?;
    let record = submit::record(&server, caller.scope(), &again.ok_or_else(|| Problem::absent("run"))?).await?;
    Ok((StatusCode::ACCEPTED, Json(record.into())))
}
