//! The caller's own keys, and tickets for a browser's WebSocket.

use axum::{Json, extract::State, http::StatusCode};
use insula_infra::KeyRecord;
use serde_json::json;

use super::page::Part;
use crate::{
    audit,
    auth::{Access, Error as AuthError, NewKey},
    http::{
        caller::{Reader, Writer},
        extract::{Body, Path, Query},
        origin::Origin,
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    wire::{Key, KeyOrder, List, ShownKey, ShownTicket},
};

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store { source, .. } => source.into(),
            AuthError::NotAdmin => Self::new(Kind::Forbidden, error.to_string()),
            AuthError::Name(source) => source.into(),
            AuthError::TokenKey { .. } => Self::internal(&error),
            error => Self::new(Kind::InvalidRequest, error.to_string()),
        }
    }
}

/// A word for an access.
pub(super) fn access(word: Option<&str>) -> Result<Option<Access>, Problem> {
    let parsed = word.map(str::parse).transpose();
    parsed.map_err(|error| Problem::new(Kind::InvalidRequest, format!("access is {error}")))
}

/// What is written down of a key.
pub(super) fn described(record: &KeyRecord) -> serde_json::Value {
    json!({"key_id": record.id, "name": record.name, "grants": record.grants, "expires_at": record.expires_at})
}

/// The caller's keys, newest first, also those that are not worth anything any more.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", params(Part),
    responses((status = 200, body = List<Key>), (status = "default", body = ProblemBody)))]
pub(crate) async fn list(
    State(server): State<Service>,
    caller: Reader,
    Query(part): Query<Part>,
) -> Result<Json<List<Key>>, Problem> {
    let page = server.engine.backend().keys.keys(Some(caller.scope()), &part.request()?).await?;
    Ok(Json(List::of(page, Key::from)))
}

/// Makes a key that can do what the caller's credential can, or less.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", request_body = KeyOrder,
    responses((status = 201, body = ShownKey), (status = "default", body = ProblemBody)))]
pub(crate) async fn create(
    State(server): State<Service>,
    caller: Writer,
    origin: Origin,
    Body(order): Body<KeyOrder>,
) -> Result<(StatusCode, Json<ShownKey>), Problem> {
    let expires_at = order.expires_in.map(|time| server.engine.clock().now().plus(time));
    let order = NewKey::like(&caller.0, order.name).narrowed(access(order.access.as_deref())?, expires_at);
    let minted = server.auth.mint(order).await?;
    audit::done(&server, &caller.0, &origin, "key.created", described(&minted.record)).await?;
    Ok((StatusCode::CREATED, Json(ShownKey { key: minted.shown.expose().to_owned(), record: minted.record.into() })))
}

/// Makes one of the caller's keys worthless, at once and also for what is open.
#[utoipa::path(delete, path = "/v1/keys/{key_id}", tag = "keys", params(("key_id" = String, Path)),
    responses((status = 200, body = Key), (status = "default", body = ProblemBody)))]
pub(crate) async fn revoke(
    State(server): State<Service>,
    caller: Writer,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Json<Key>, Problem> {
    let revoked = server.auth.revoke(Some(caller.scope()), &id).await?.ok_or_else(|| Problem::absent("key"))?;
    audit::done(&server, &caller.0, &origin, "key.revoked", described(&revoked)).await?;
    Ok(Json(revoked.into()))
}

/// A ticket for the socket, good once and soon.
#[utoipa::path(post, path = "/v1/tickets", tag = "keys",
    responses((status = 201, body = ShownTicket), (status = "default", body = ProblemBody)))]
pub(crate) async fn ticket(State(server): State<Service>, caller: Reader) -> (StatusCode, Json<ShownTicket>) {
    let ticket = server.auth.ticket(&caller.0);
    let shown = ShownTicket { ticket: ticket.text.expose().to_owned(), expires_at: ticket.expires_at };
    (StatusCode::CREATED, Json(shown))
}
