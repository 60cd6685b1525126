//! Whether the server lives, and whether it takes work.

use axum::{
    Json,
    extract::{FromRequestParts, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use insula_infra::Health;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::caller::Operator,
    metrics::CONTENT_TYPE,
    problem::ProblemBody,
    service::Service,
    webhooks::WebhookCounters,
    wire::{ComponentState, Ready},
};

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// `alive`.
    status: &'static str,
}

/// Whether the process answers. Asks nothing else.
#[utoipa::path(get, path = "/healthz", tag = "operator", security(()), responses((status = 200, body = Alive)))]
pub(crate) async fn alive() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

/// Whether the server takes work, asked now. What exactly was seen is for operators.
#[utoipa::path(get, path = "/readyz", tag = "operator", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(crate) async fn ready(State(server): State<Service>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let in_detail = parts.headers.contains_key(header::AUTHORIZATION)
        && Operator::from_request_parts(&mut parts, &server).await.is_ok();
    let mut components: Vec<_> = server.engine.health().await.into_iter().map(ComponentState::from).collect();
    if !in_detail {
        components.iter_mut().for_each(hide);
    }
    let worst = |wanted| components.iter().any(|component| component.health == wanted);
    let (code, status) = match (server.draining.is_cancelled(), worst(Health::Down), worst(Health::Degraded)) {
        (true, _, _) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        (_, true, _) => (StatusCode::SERVICE_UNAVAILABLE, "down"),
        (_, _, true) => (StatusCode::OK, "degraded"),
        _ => (StatusCode::OK, "ready"),
    };
    (code, Json(Ready { status, components })).into_response()
}

/// Leaves what everybody may know: which kind of component it is, and how it is. Files and hosts are the operator's.
fn hide(component: &mut ComponentState) {
    // "sqlite FILE", "redis://HOST:PORT".
    let kind = component.component.find([' ', ':']).unwrap_or(component.component.len());
    component.component.truncate(kind);
    component.detail = None;
}

/// Counts for Prometheus. No user is in them.
#[utoipa::path(get, path = "/metrics", tag = "operator",
    responses((status = 200, content((String = "application/openmetrics-text"))), (status = "default", body = ProblemBody)))]
pub(crate) async fn metrics(State(server): State<Service>, _: Operator) -> Response {
    let none = WebhookCounters::default();
    let deliveries = server.deliveries.get().map_or(&none, |counters| counters);
    let text = server.metrics.render(&server.engine, deliveries).await;
    ([(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_may_know_the_kind_of_a_component_and_not_where_it_is() {
        for (component, kind) in
            [("sqlite /srv/insula.db", "sqlite"), ("redis://cache.internal:6379", "redis"), ("memory", "memory")]
        {
            let (component, detail) = (component.to_owned(), Some("answers".to_owned()));
            let mut state = ComponentState { component, health: Health::Up, detail };
            hide(&mut state);
            assert_eq!((state.component.as_str(), state.detail), (kind, None));
        }
    }
}
