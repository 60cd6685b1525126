//! Large values, by their hash.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use insula_infra::PayloadHash;

use crate::{
    http::{caller::Reader, extract::Path},
    problem::{Kind, Problem, ProblemBody},
    service::Service,
};

/// A value that is kept by reference.
#[utoipa::path(get, path = "/v1/payloads/{hash}", tag = "events", params(("hash" = String, Path)),
    responses((status = 200, content((Object = "application/json"))), (status = "default", body = ProblemBody)))]
pub(crate) async fn one(
    State(server): State<Service>,
    caller: Reader,
    Path(hash): Path<String>,
) -> Result<Response, Problem> {
    let hash: PayloadHash =
        hash.parse().map_err(|_| Problem::new(Kind::InvalidRequest, "a hash has 64 hexadecimal digits"))?;
    let bytes = server.engine.backend().log.payload(caller.scope(), &hash).await?;
    let bytes = bytes.ok_or_else(|| Problem::absent("value"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}
