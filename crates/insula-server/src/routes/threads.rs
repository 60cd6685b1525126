//! Conversations: listed, made, branched off, deleted.

use axum::{Json, extract::State, http::StatusCode};
use insula_context::ThreadId;
use serde_json::json;

use super::page::Part;
use crate::{
    audit,
    http::{
        caller::{Reader, Writer},
        extract::{Body, MaybeBody, Path, Query},
        origin::Origin,
    },
    problem::{Problem, ProblemBody},
    service::Service,
    wire::{DeletedCount, ForkOrder, List, NewThread, Thread},
};

/// The user's conversations, newest first.
#[utoipa::path(get, path = "/v1/threads", tag = "threads", params(Part),
    responses((status = 200, body = List<Thread>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(
    State(server): State<Service>,
    caller: Reader,
    Query(part): Query<Part>,
) -> Result<Json<List<Thread>>, Problem> {
    let page = server.engine.backend().runs.threads(caller.scope(), &part.request()?).await?;
    Ok(Json(List::of(page, Thread::from)))
}

/// Makes a conversation without runs.
#[utoipa::path(post, path = "/v1/threads", tag = "threads", request_body(content = Option<NewThread>),
    responses((status = 201, body = Thread), (status = "default", body = ProblemBody)))]
pub(crate) async fn create(
    State(server): State<Service>,
    caller: Writer,
    MaybeBody(order): MaybeBody<NewThread>,
) -> Result<(StatusCode, Json<Thread>), Problem> {
    let engine = &server.engine;
    let thread = order.thread_id.map(ThreadId::new).transpose()?;
    let thread = thread.unwrap_or_else(|| ThreadId::generate(engine.ids()));
    let made = engine.backend().runs.create_thread(caller.scope(), &thread, engine.clock().now()).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// One conversation.
#[utoipa::path(get, path = "/v1/threads/{thread_id}", tag = "threads", params(("thread_id" = String, Path)),
    responses((status = 200, body = Thread), (status = "default", body = ProblemBody)))]
pub(crate) async fn one(
    State(server): State<Service>,
    caller: Reader,
    Path(thread): Path<String>,
) -> Result<Json<Thread>, Problem> {
    let found = server.engine.backend().runs.thread(caller.scope(), &ThreadId::new(thread)?).await?;
    Ok(Json(found.ok_or_else(|| Problem::absent("thread"))?.into()))
}

/// Deletes a conversation with everything in it.
#[utoipa::path(delete, path = "/v1/threads/{thread_id}", tag = "threads", params(("thread_id" = String, Path)),
    responses((status = 200, body = DeletedCount), (status = "default", body = ProblemBody)))]
pub(crate) async fn delete(
    State(server): State<Service>,
    caller: Writer,
    origin: Origin,
    Path(thread): Path<String>,
) -> Result<Json<DeletedCount>, Problem> {
    let thread = ThreadId::new(thread)?;
    let deleted = server.engine.delete_thread(caller.scope(), &thread).await?;
    let deleted = deleted.ok_or_else(|| Problem::absent("thread"))?;
    let detail = json!({"thread_id": thread, "threads": deleted.threads, "runs": deleted.runs});
    audit::done(&server, &caller.0, &origin, "thread.deleted", detail).await?;
    Ok(Json(deleted.into()))
}

/// Makes a conversation that begins with the first events of another.
#[utoipa::path(post, path = "/v1/threads/{thread_id}/fork", tag = "threads", params(("thread_id" = String, Path)),
    request_body = ForkOrder,
    responses((status = 201, body = Thread), (status = "default", body = ProblemBody)))]
pub(crate) async fn fork(
    State(server): State<Service>,
    caller: Writer,
    Path(thread): Path<String>,
    Body(order): Body<ForkOrder>,
) -> Result<(StatusCode, Json<Thread>), Problem> {
    let into = order.thread_id.map(ThreadId::new).transpose()?;
    let forked = server.engine.fork(caller.scope(), &ThreadId::new(thread)?, order.seq, into).await?;
    let forked = forked.ok_or_else(|| Problem::absent("thread, or it has fewer events"))?;
    Ok((StatusCode::CREATED, Json(forked.into())))
}
