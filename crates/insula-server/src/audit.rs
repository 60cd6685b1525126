//! What is written into the audit log: who was given a key or lost one, what was taken away or out, who was refused. What runs
//! did is in their own log and is not said twice.

use insula_context::UserScope;
use insula_infra::NewAuditEntry;
use serde_json::{Value, json};

use crate::{
    auth::{Credential, Principal},
    http::origin::Origin,
    problem::Problem,
    service::Service,
};

/// Writes down, in the log of the caller's user, that something was done. Durable when it returns.
pub(crate) async fn done(
    server: &Service,
    by: &Principal,
    origin: &Origin,
    action: &str,
    detail: Value,
) -> Result<(), Problem> {
    concerning(server, &by.scope, by, origin, (action, detail)).await
}

/// As [`done`], in the log of the user whom it concerns.
pub(crate) async fn concerning(
    server: &Service,
    user: &UserScope,
    by: &Principal,
    origin: &Origin,
    (action, detail): (&str, Value),
) -> Result<(), Problem> {
    let detail = json!({
        "by": {"tenant_id": by.scope.tenant(), "user_id": by.scope.user(), "credential": credential(&by.credential)},
        "from": {"address": origin.address.map(|address| address.to_string()), "request_id": origin.request},
        "on": detail,
    });
    let detail = serde_json::value::to_raw_value(&detail).map_err(|error| Problem::internal(&error))?.into();
    let entry = NewAuditEntry { at: server.engine.clock().now(), action: action.to_owned(), detail };
    server.engine.backend().audit.add_audit(user, entry).await?;
    Ok(())
}

/// What was shown, without what is secret.
fn credential(credential: &Credential) -> Value {
    match credential {
        Credential::Key { id, .. } => json!({"key": id}),
        Credential::Token { id, .. } => json!({"token": id}),
    }
}
