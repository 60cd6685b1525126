//! Counts and health of all, for operators.

use axum::{Json, extract::State};

use crate::{
    http::caller::Operator,
    problem::{Problem, ProblemBody},
    service::Service,
    wire::{ComponentState, Overview},
};

/// How the server is, and what it has to do.
#[utoipa::path(get, path = "/v1/operator/overview", tag = "operator",
    responses((status = 200, body = Overview), (status = "default", body = ProblemBody)))]
pub(crate) async fn overview(State(server): State<Service>, _: Operator) -> Result<Json<Overview>, Problem> {
    let (engine, census) = (&server.engine, &server.engine.backend().census);
    Ok(Json(Overview {
        version: env!("CARGO_PKG_VERSION"),
        started_at: server.started_at,
        node: engine.worker().to_string(),
        draining: server.draining.is_cancelled(),
        counts: census.counts().await?,
        metrics: engine.metrics(),
        nodes: census.nodes().await?,
        limits: engine.limits().into(),
        health: engine.health().await.into_iter().map(ComponentState::from).collect(),
        sockets: server.metrics.sockets(),
        streams: server.seats.taken(),
    }))
}
