//! Runs as files: given out, taken in, executed again.

use std::io::Cursor;

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, FromRequest, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use futures::stream;
use insula_context::{RunId, ThreadId};
use insula_engine::{Archive, Error as EngineError, Export, Part};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use crate::{
    audit,
    http::{
        caller::{Reader, Writer},
        extract::{Path, Query, refused},
        origin::Origin,
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    wire::{ImportedRun, ReplayReport},
};

/// The media type of an archive.
const LINES: &str = "application/x-ndjson";

/// How much of a run is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// `shown`, or `whole` with what only the engine sees.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    part: Part,
}

/// A run and its children as lines of JSON.
#[utoipa::path(get, path = "/v1/runs/{run_id}/export", tag = "archive", params(("run_id" = String, Path), Wanted),
    responses((status = 200, content((String = "application/x-ndjson"))), (status = "default", body = ProblemBody)))]
pub(crate) async fn export(
    State(server): State<Service>,
    caller: Reader,
    origin: Origin,
    Path(run): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let run = RunId::new(run)?;
    let export =
        server.engine.export(caller.scope(), &run, wanted.part).await?.ok_or_else(|| Problem::absent("run"))?;
    audit::done(&server, &caller.0, &origin, "run.exported", json!({"run_id": run, "part": wanted.part})).await?;
    let mut response = Response::new(Body::from_stream(lines(export)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    Ok(response)
}

/// What cannot be read breaks the body off, so that nobody takes it for whole.
fn lines(export: Export) -> impl futures::Stream<Item = Result<Bytes, EngineError>> {
    stream::try_unfold(export, |mut export| async move {
        let line = export.next_line().await.inspect_err(|error| {
            tracing::warn!(%error, "an export could not be read to its end");
        })?;
        Ok(line.map(|line| (Bytes::from(line + "\n"), export)))
    })
}

/// Where to.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Into {
    /// The conversation; a new one otherwise.
    thread_id: Option<String>,
}

/// Takes a run in, as the user's own.
#[utoipa::path(post, path = "/v1/runs/import", tag = "archive", params(Into),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 201, body = ImportedRun), (status = "default", body = ProblemBody)))]
pub(crate) async fn import(
    State(server): State<Service>,
    caller: Writer,
    origin: Origin,
    Query(into): Query<Into>,
    request: Request,
) -> Result<(StatusCode, Json<ImportedRun>), Problem> {
    let thread = into.thread_id.map(ThreadId::new).transpose()?;
    let bytes = body(&server, request).await?;
    let archive = Archive::read(Cursor::new(bytes))?;
    let imported = server.engine.import(caller.scope(), &archive, thread).await?;
    audit::done(&server, &caller.0, &origin, "run.imported", json!({"run_id": imported.run_id})).await?;
    Ok((StatusCode::CREATED, Json(imported.into())))
}

/// An archive may be larger than other bodies.
async fn body(server: &Service, request: Request) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with(LINES) {
        return Err(Problem::new(
            Kind::UnsupportedMediaType,
            format!("lines of JSON are wanted: Content-Type: {LINES}"),
        ));
    }
    let (parts, body) = request.into_parts();
    let mut request = Request::from_parts(parts, body);
    DefaultBodyLimit::apply(DefaultBodyLimit::max(server.settings.import_bytes), &mut request);
    Bytes::from_request(request, &()).await.map_err(|rejection| refused(&rejection))
}

/// Executes a run again against its record. Nothing is called and nothing is written.
#[utoipa::path(post, path = "/v1/runs/{run_id}/replay", tag = "archive", params(("run_id" = String, Path)),
    responses((status = 200, body = ReplayReport), (status = "default", body = ProblemBody)))]
pub(crate) async fn replay(
    State(server): State<Service>,
    caller: Writer,
    Path(run): Path<String>,
) -> Result<Json<ReplayReport>, Problem> {
    let replay = server.engine.replay(caller.scope(), &RunId::new(run)?).await?;
    Ok(Json(replay.ok_or_else(|| Problem::absent("run"))?.into()))
}
