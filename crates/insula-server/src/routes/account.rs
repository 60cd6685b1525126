//! The caller's own account: who it is, what was used, what was written down.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::page;
use crate::{
    audit,
    auth::{Credential, Principal, Role},
    http::{
        caller::{Caller, Reader, Writer},
        extract::Query,
        origin::Origin,
    },
    problem::{Kind, Problem, ProblemBody},
    service::Service,
    wire::{AuditList, Days, DeletedCount, Me, MeCredential, MeServer, UsageReport},
};

/// Who is asking.
#[utoipa::path(get, path = "/v1/me", tag = "account",
    responses((status = 200, body = Me), (status = "default", body = ProblemBody)))]
pub(crate) async fn me(Caller(principal): Caller) -> Json<Me> {
    Json(Me {
        tenant_id: principal.scope.tenant().to_string(),
        user_id: principal.scope.user().to_string(),
        roles: principal.roles.iter().map(Role::as_str).collect(),
        access: principal.access.as_str(),
        credential: credential(&principal),
        server: MeServer { version: env!("CARGO_PKG_VERSION") },
    })
}

fn credential(principal: &Principal) -> MeCredential {
    let expires_at = principal.expires_at;
    match &principal.credential {
        Credential::Key { id, name } => {
            MeCredential { kind: "key", id: Some(id.clone()), name: Some(name.clone()), expires_at }
        }
        Credential::Token { id, .. } => MeCredential { kind: "token", id: id.clone(), name: None, expires_at },
    }
}

/// Whose things are to be deleted, so that nobody does it by mistake.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Confirm {
    /// The caller's own user id.
    confirm: Option<String>,
}

/// Deletes everything of the caller's user. Keys and the audit log stay.
#[utoipa::path(delete, path = "/v1/me", tag = "account", params(Confirm),
    responses((status = 200, body = DeletedCount), (status = "default", body = ProblemBody)))]
pub(crate) async fn delete(
    State(server): State<Service>,
    caller: Writer,
    origin: Origin,
    Query(Confirm { confirm }): Query<Confirm>,
) -> Result<Json<DeletedCount>, Problem> {
    let scope = caller.scope();
    if confirm.as_deref() != Some(scope.user().as_str()) {
        return Err(Problem::new(Kind::InvalidRequest, "say ?confirm= with your own user id: there is no way back"));
    }
    let deleted = server.engine.delete_user(scope).await?;
    let detail = json!({"threads": deleted.threads, "runs": deleted.runs});
    audit::done(&server, &caller.0, &origin, "user.deleted", detail).await?;
    Ok(Json(deleted.into()))
}

/// Where to go on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// Only entries behind this number.
    #[serde(default)]
    #[param(required = false, format = "uint64")]
    after: u64,
    /// 1 to 1,000 entries; 50 otherwise.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The user's audit log, oldest first.
#[utoipa::path(get, path = "/v1/audit", tag = "account", params(After),
    responses((status = 200, body = AuditList), (status = "default", body = ProblemBody)))]
pub(crate) async fn audit(
    State(server): State<Service>,
    caller: Reader,
    Query(After { after, limit }): Query<After>,
) -> Result<Json<AuditList>, Problem> {
    let limit = page::limit(limit)?;
    let items = server.engine.backend().audit.audit(caller.scope(), after, limit).await?;
    let next = items.last().map(|entry| entry.number).filter(|_| items.len() == limit);
    Ok(Json(AuditList { items, next }))
}

/// Which days.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// The first, as in `2026-03-01`; 29 days before the last otherwise.
    from: Option<String>,
    /// The last; today otherwise.
    to: Option<String>,
}

/// What the user has used, by day and agent.
#[utoipa::path(get, path = "/v1/usage", tag = "account", params(Wanted),
    responses((status = 200, body = UsageReport), (status = "default", body = ProblemBody)))]
pub(crate) async fn usage(
    State(server): State<Service>,
    caller: Reader,
    Query(wanted): Query<Wanted>,
) -> Result<Json<UsageReport>, Problem> {
    let days = Days::read(wanted.from.as_deref(), wanted.to.as_deref(), server.engine.clock().now());
    let days = days.map_err(|problem| Problem::new(Kind::InvalidRequest, problem))?;
    let (from, to) = days.numbers();
    let rows = server.engine.backend().usage.usage(caller.scope(), from, to).await?;
    Ok(Json(UsageReport::of(days, &rows)))
}
