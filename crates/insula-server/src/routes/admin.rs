//! Keys and limits of all users, for admins. They see who there is, and nothing of what anybody does.

use axum::{Json, extract::State, http::StatusCode};
use insula_context::UserScope;
use insula_infra::KeyRecord;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::{
    keys::{access, described},
    page::Part,
};
use crate::{
    audit,
    auth::{Access, NewKey, Principal, Role, Roles},
    http::{
        caller::{Admin, AdminReader},
        extract::{Body, Path, Query},
        origin::Origin,
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    wire::{Key, List, NewKeyOrder, OwnLimits, ShownKey},
};

/// Whose.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Whose {
    /// With `user_id`.
    tenant_id: Option<String>,
    /// With `tenant_id`.
    user_id: Option<String>,
}

impl Whose {
    fn read(self, server: &Service, by: &Principal) -> Result<Option<UserScope>, Problem> {
        match (self.tenant_id, self.user_id) {
            (Some(tenant), Some(user)) => Ok(Some(server.auth.scope_of(by, &tenant, &user)?)),
            (None, None) => Ok(None),
            _ => Err(Problem::new(Kind::InvalidRequest, "give tenant_id and user_id, or neither")),
        }
    }
}

/// Keys of all users, or of one, newest first.
#[utoipa::path(get, path = "/v1/admin/keys", tag = "admin", params(Whose, Part),
    responses((status = 200, body = List<Key>), (status = "default", body = ProblemBody)))]
pub(crate) async fn keys(
    State(server): State<Service>,
    caller: AdminReader,
    Query(whose): Query<Whose>,
    Query(part): Query<Part>,
) -> Result<Json<List<Key>>, Problem> {
    let owner = whose.read(&server, &caller.0)?;
    let page = server.engine.backend().keys.keys(owner.as_ref(), &part.request()?).await?;
    Ok(Json(List::of(page, Key::from)))
}

fn roles(words: Option<&[String]>) -> Result<Roles, Problem> {
    let Some(words) = words else { return Ok(Roles::of(&[Role::User])) };
    let roles: Result<Roles, _> = words.iter().map(|word| word.parse::<Role>()).collect();
    roles.map_err(|error| Problem::new(Kind::InvalidRequest, format!("a role is {error}")))
}

/// Makes a key for somebody.
#[utoipa::path(post, path = "/v1/admin/keys", tag = "admin", request_body = NewKeyOrder,
    responses((status = 201, body = ShownKey), (status = "default", body = ProblemBody)))]
pub(crate) async fn create_key(
    State(server): State<Service>,
    caller: Admin,
    origin: Origin,
    Body(order): Body<NewKeyOrder>,
) -> Result<(StatusCode, Json<ShownKey>), Problem> {
    let key = NewKey {
        scope: server.auth.scope_of(&caller.0, &order.tenant_id, &order.user_id)?,
        name: order.name,
        roles: roles(order.roles.as_deref())?,
        access: access(order.access.as_deref())?.unwrap_or(Access::Write),
        expires_at: order.expires_in.map(|time| server.engine.clock().now().plus(time)),
    };
    let minted = server.auth.mint(key).await?;
    written(&server, &caller.0, &origin, "key.created", &minted.record).await?;
    Ok((StatusCode::CREATED, Json(ShownKey { key: minted.shown.expose().to_owned(), record: minted.record.into() })))
}

/// In the log of the user whose key it is.
async fn written(
    server: &Service,
    by: &Principal,
    origin: &Origin,
    action: &str,
    record: &KeyRecord,
) -> Result<(), Problem> {
    audit::concerning(server, &record.scope, by, origin, (action, described(record))).await
}

/// Makes anybody's key worthless, at once and also for what is open.
#[utoipa::path(delete, path = "/v1/admin/keys/{key_id}", tag = "admin", params(("key_id" = String, Path)),
    responses((status = 200, body = Key), (status = "default", body = ProblemBody)))]
pub(crate) async fn revoke_key(
    State(server): State<Service>,
    caller: Admin,
    origin: Origin,
    Path(id): Path<String>,
) -> Result<Json<Key>, Problem> {
    let revoked = server.auth.revoke(None, &id).await?.ok_or_else(|| Problem::absent("key"))?;
    written(&server, &caller.0, &origin, "key.revoked", &revoked).await?;
    Ok(Json(revoked.into()))
}

type Named = (String, String);

/// What a user may have where it is not what everybody may.
#[utoipa::path(get, path = "/v1/admin/limits/{tenant_id}/{user_id}", tag = "admin",
    params(("tenant_id" = String, Path), ("user_id" = String, Path)),
    responses((status = 200, body = OwnLimits), (status = "default", body = ProblemBody)))]
pub(crate) async fn limits(
    State(server): State<Service>,
    caller: AdminReader,
    Path((tenant, user)): Path<Named>,
) -> Result<Json<OwnLimits>, Problem> {
    let scope = server.auth.scope_of(&caller.0, &tenant, &user)?;
    Ok(Json(server.plans()?.of(&scope).ok_or_else(|| Problem::absent("user with limits of their own"))?))
}

/// Sets what a user may have. It holds from the user's next idle moment on.
#[utoipa::path(put, path = "/v1/admin/limits/{tenant_id}/{user_id}", tag = "admin",
    params(("tenant_id" = String, Path), ("user_id" = String, Path)), request_body = OwnLimits,
    responses((status = 200, body = OwnLimits), (status = "default", body = ProblemBody)))]
pub(crate) async fn put_limits(
    State(server): State<Service>,
    caller: Admin,
    origin: Origin,
    Path((tenant, user)): Path<Named>,
    Body(limits): Body<OwnLimits>,
) -> Result<Json<OwnLimits>, Problem> {
    let scope = server.auth.scope_of(&caller.0, &tenant, &user)?;
    server.plans()?.put(&scope, limits).await?;
    audit::concerning(&server, &scope, &caller.0, &origin, ("limits.changed", json!(limits))).await?;
    Ok(Json(limits))
}

/// Gives a user what everybody may have.
#[utoipa::path(delete, path = "/v1/admin/limits/{tenant_id}/{user_id}", tag = "admin",
    params(("tenant_id" = String, Path), ("user_id" = String, Path)),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub(crate) async fn delete_limits(
    State(server): State<Service>,
    caller: Admin,
    origin: Origin,
    Path((tenant, user)): Path<Named>,
) -> Result<StatusCode, Problem> {
    let scope = server.auth.scope_of(&caller.0, &tenant, &user)?;
    if !server.plans()?.delete(&scope).await? {
        return Err(Problem::absent("user with limits of their own"));
    }
    audit::concerning(&server, &scope, &caller.0, &origin, ("limits.changed", json!(null))).await?;
    Ok(StatusCode::NO_CONTENT)
}
