//! Runs that begin by the calendar.

use axum::{Json, extract::State, http::StatusCode};

use crate::{
    http::{
        caller::{Reader, Writer},
        extract::{Body, Path},
    },
    problem::{Problem, ProblemBody},
    service::Service,
    wire::{Items, Schedule, ScheduleOrder},
};

fn absent() -> Problem {
    Problem::absent("schedule")
}

/// The user's schedules, by name.
#[utoipa::path(get, path = "/v1/schedules", tag = "schedules",
    responses((status = 200, body = Items<Schedule>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(State(server): State<Service>, caller: Reader) -> Result<Json<Items<Schedule>>, Problem> {
    let schedules = server.engine.schedules(caller.scope()).await?;
    Ok(Json(Items { items: schedules.into_iter().map(Schedule::from).collect() }))
}

/// Keeps a schedule, in place of the one of this name.
#[utoipa::path(put, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path)),
    request_body = ScheduleOrder,
    responses((status = 200, body = Schedule), (status = "default", body = ProblemBody)))]
pub(crate) async fn put(
    State(server): State<Service>,
    caller: Writer,
    Path(name): Path<String>,
    Body(order): Body<ScheduleOrder>,
) -> Result<Json<Schedule>, Problem> {
    Ok(Json(server.engine.schedule(caller.scope(), order.named(&name)?).await?.into()))
}

/// Removes a schedule.
#[utoipa::path(delete, path = "/v1/schedules/{name}", tag = "schedules", params(("name" = String, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub(crate) async fn delete(
    State(server): State<Service>,
    caller: Writer,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    match server.engine.unschedule(caller.scope(), &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(absent()),
    }
}

/// Pauses a schedule: it misses nothing meanwhile.
#[utoipa::path(post, path = "/v1/schedules/{name}/pause", tag = "schedules", params(("name" = String, Path)),
    responses((status = 200, body = Schedule), (status = "default", body = ProblemBody)))]
pub(crate) async fn pause(
    State(server): State<Service>,
    caller: Writer,
    Path(name): Path<String>,
) -> Result<Json<Schedule>, Problem> {
    let paused = server.engine.pause_schedule(caller.scope(), &name).await?;
    Ok(Json(paused.ok_or_else(absent)?.into()))
}

/// Goes on with a schedule.
#[utoipa::path(post, path = "/v1/schedules/{name}/resume", tag = "schedules", params(("name" = String, Path)),
    responses((status = 200, body = Schedule), (status = "default", body = ProblemBody)))]
pub(crate) async fn resume(
    State(server): State<Service>,
    caller: Writer,
    Path(name): Path<String>,
) -> Result<Json<Schedule>, Problem> {
    let resumed = server.engine.resume_schedule(caller.scope(), &name).await?;
    Ok(Json(resumed.ok_or_else(absent)?.into()))
}
