//! Events: in pages, or as a stream that goes on.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use insula_context::{RunId, ThreadId};
use insula_infra::EventPage;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{page, submit};
use crate::{
    feed::Feed,
    http::{
        caller::Reader,
        extract::{Path, Query},
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    sse,
    wire::{EventList, PageGap},
};

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// Only events with `seq` behind this.
    #[serde(default)]
    #[param(required = false)]
    after: u64,
    /// 1 to 1,000 events; 50 otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// Whether a stream of server-sent events is wanted.
fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/event-stream"))
}

/// Where a stream goes on: what the browser remembers comes before what the URL says.
fn cursor(headers: &HeaderMap, after: u64) -> Result<u64, Problem> {
    let Some(sent) = headers.get("last-event-id") else { return Ok(after) };
    let text = sent.to_str().unwrap_or_default();
    match text.parse() {
        Ok(seq) => Ok(seq),
        Err(_) if text.is_empty() => Ok(after),
        Err(_) => Err(Problem::new(Kind::InvalidRequest, "Last-Event-ID is the seq of an event")),
    }
}

/// Events of a run.
#[utoipa::path(get, path = "/v1/runs/{run_id}/events", tag = "events",
    params(("run_id" = String, Path), From, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content((EventList = "application/json"), (String = "text/event-stream"))),
              (status = 204, description = "the run has ended and everything was read"),
              (status = "default", body = ProblemBody)))]
pub(crate) async fn of_run(
    State(server): State<Service>,
    caller: Reader,
    Path(run): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (run, scope, backend) = (RunId::new(run)?, caller.scope(), server.engine.backend());
    if !wants_stream(&headers) {
        let limit = page::limit(from.limit)?;
        let page = backend.log.run_events(scope, &run, from.after, limit).await?;
        return Ok(listed(page.ok_or_else(|| Problem::absent("run"))?, from.after, limit).into_response());
    }
    let after = cursor(&headers, from.after)?;
    let record = submit::record(&server, scope, &run).await?;
    if record.status.is_terminal()
        && backend.log.run_events(scope, &run, after, 1).await?.is_none_or(|page| page.events.is_empty())
    {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let stream = server.engine.run_events(scope, &run, after).await?.ok_or_else(|| Problem::absent("run"))?;
    sse::response(&server, &caller.0, Feed::new(record.header.thread.clone(), stream))
}

/// Events of a conversation.
#[utoipa::path(get, path = "/v1/threads/{thread_id}/events", tag = "events",
    params(("thread_id" = String, Path), From, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content((EventList = "application/json"), (String = "text/event-stream"))),
              (status = "default", body = ProblemBody)))]
pub(crate) async fn of_thread(
    State(server): State<Service>,
    caller: Reader,
    Path(thread): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (thread, scope, backend) = (ThreadId::new(thread)?, caller.scope(), server.engine.backend());
    if !wants_stream(&headers) {
        let limit = page::limit(from.limit)?;
        let page = backend.log.thread_events(scope, &thread, from.after, limit).await?;
        return Ok(listed(page.ok_or_else(|| Problem::absent("thread"))?, from.after, limit).into_response());
    }
    let after = cursor(&headers, from.after)?;
    backend.runs.thread(scope, &thread).await?.ok_or_else(|| Problem::absent("thread"))?;
    let stream = server.engine.events(scope, &thread, after);
    sse::response(&server, &caller.0, Feed::new(thread, stream))
}

/// A page as it is on the wire.
fn listed(page: EventPage, after: u64, limit: usize) -> Json<EventList> {
    let EventPage { events, oldest, head } = page;
    let gap = (oldest > after + 1).then_some(PageGap { after, next: oldest });
    let next = events.last().map(|event| event.seq).filter(|seq| events.len() == limit && *seq < head);
    Json(EventList { events, after, head, next, gap })
}
