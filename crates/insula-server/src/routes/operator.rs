//! Counts and health of all, for operators.

use axum::{Json, extract::State};

use crate::{
    http::caller::Operator,
    problem::{Problem, ProblemBody},
    service::Service,
    wire::{ComponentState, Items, Node, Overview},
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
        nodes: census.nodes().await?.into_iter().map(Node::from).collect(),
        limits: engine.limits().into(),
        health: engine.health().await.into_iter().map(ComponentState::from).collect(),
        sockets: server.metrics.sockets(),
        streams: server.seats.taken(),
    }))
}

/// The processes that work on the queue, by name.
#[utoipa::path(get, path = "/v1/operator/nodes", tag = "operator",
    responses((status = 200, body = Items<Node>), (status = "default", body = ProblemBody)))]
pub(crate) async fn nodes(State(server): State<Service>, _: Operator) -> Result<Json<Items<Node>>, Problem> {
    let nodes = server.engine.backend().census.nodes().await?;
    Ok(Json(Items { items: nodes.into_iter().map(Node::from).collect() }))
}
