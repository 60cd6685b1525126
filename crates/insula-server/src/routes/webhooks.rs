//! Calls that tell somebody of a run's end: listed, and sent again.

use axum::{Json, extract::State, http::StatusCode};
use insula_context::RunId;
use insula_infra::WebhookState;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page::Part;
use crate::{
    http::{
        caller::{Reader, Writer},
        extract::{Path, Query},
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    wire::{List, Webhook},
};

/// In which state.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct In {
    /// `waiting`, `due`, `delivered` or `dead`.
    state: Option<String>,
}

impl In {
    fn read(self) -> Result<Option<WebhookState>, Problem> {
        let Some(word) = self.state else { return Ok(None) };
        let known = || WebhookState::ALL.map(WebhookState::as_str).join(", ");
        let state = WebhookState::parse(&word);
        state.map(Some).ok_or_else(|| Problem::new(Kind::InvalidRequest, format!("state is one of {}", known())))
    }
}

/// The user's calls, newest first.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", params(In, Part),
    responses((status = 200, body = List<Webhook>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(
    State(server): State<Service>,
    caller: Reader,
    Query(state): Query<In>,
    Query(part): Query<Part>,
) -> Result<Json<List<Webhook>>, Problem> {
    let backend = server.engine.backend();
    let page = backend.webhooks.webhooks(caller.scope(), state.read()?, &part.request()?).await?;
    Ok(Json(List::of(page, Webhook::from)))
}

/// Makes a call again.
#[utoipa::path(post, path = "/v1/webhooks/{run_id}/resend", tag = "webhooks", params(("run_id" = String, Path)),
    responses((status = 202, body = Webhook), (status = "default", body = ProblemBody)))]
pub(crate) async fn resend(
    State(server): State<Service>,
    caller: Writer,
    Path(run): Path<String>,
) -> Result<(StatusCode, Json<Webhook>), Problem> {
    let backend = server.engine.backend();
    let call = backend.webhooks.resend_webhook(caller.scope(), &RunId::new(run)?).await?;
    let call = call.ok_or_else(|| Problem::absent("call of a run that has ended"))?;
    Ok((StatusCode::ACCEPTED, Json(call.into())))
}
