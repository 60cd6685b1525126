//! The agent classes that can be run.

use axum::{Json, extract::State};

use crate::{
    http::{caller::Reader, extract::Path},
    problem::{Problem, ProblemBody},
    service::Service,
    wire::{Agent, Items},
};

/// All classes, by name.
#[utoipa::path(get, path = "/v1/agents", tag = "agents",
    responses((status = 200, body = Items<Agent>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(State(server): State<Service>, _: Reader) -> Json<Items<Agent>> {
    Json(Items { items: server.engine.registry().classes().map(|class| Agent::from(&**class)).collect() })
}

/// One class.
#[utoipa::path(get, path = "/v1/agents/{name}", tag = "agents", params(("name" = String, Path)),
    responses((status = 200, body = Agent), (status = "default", body = ProblemBody)))]
pub(crate) async fn one(
    State(server): State<Service>,
    _: Reader,
    Path(name): Path<String>,
) -> Result<Json<Agent>, Problem> {
    Ok(Json(server.engine.registry().lookup(&name)?.as_ref().into()))
}
