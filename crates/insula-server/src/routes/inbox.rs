//! Open questions.

use axum::{Json, extract::State};
use insula_context::RunId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::page::Part;
use crate::{
    http::{caller::Reader, extract::Query},
    problem::{Problem, ProblemBody},
    service::Service,
    wire::{List, OpenQuestion},
};

/// Of which run.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Of {
    /// Only of this run.
    run_id: Option<String>,
}

/// The user's open questions, newest first.
#[utoipa::path(get, path = "/v1/inbox", tag = "runs", params(Of, Part),
    responses((status = 200, body = List<OpenQuestion>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(
    State(server): State<Service>,
    caller: Reader,
    Query(of): Query<Of>,
    Query(part): Query<Part>,
) -> Result<Json<List<OpenQuestion>>, Problem> {
    let run = of.run_id.map(RunId::new).transpose()?;
    let page = server.engine.inbox(caller.scope(), run.as_ref(), &part.request()?).await?;
    Ok(Json(List::of(page, OpenQuestion::from)))
}
