//! Who is asking, and what that allows, as the type that a route takes: there is no scope without one of these.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use insula_context::UserScope;

use super::origin::Origin;
use crate::{
    auth::{Access, Principal, Refused, Role},
    metrics::{AuthRefusal, RateLimited},
    problem::{Kind, Problem},
    service::Service,
};

/// Somebody with a valid credential, whatever it allows.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub Principal);

/// A user who reads what is the user's own.
#[derive(Debug, Clone)]
pub(crate) struct Reader(pub Principal);

/// A user who changes what is the user's own.
#[derive(Debug, Clone)]
pub(crate) struct Writer(pub Principal);

/// An operator, who sees counts and health of all.
#[derive(Debug, Clone)]
pub(crate) struct Operator(
    #[expect(dead_code, reason = "what an operator sees depends on nobody's name")] pub Principal,
);

/// An admin, who reads keys and limits of all.
#[derive(Debug, Clone)]
pub(crate) struct AdminReader(pub Principal);

/// An admin, who changes them.
#[derive(Debug, Clone)]
pub(crate) struct Admin(pub Principal);

impl Reader {
    pub(crate) fn scope(&self) -> &UserScope {
        &self.0.scope
    }
}

impl Writer {
    pub(crate) fn scope(&self) -> &UserScope {
        &self.0.scope
    }
}

/// What is to be sent with `Authorization`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (sent.next()?.to_str().ok()?, sent.next());
    let (scheme, credential) = first.split_once(' ')?;
    // Two credentials are none: a proxy and the server might each believe another.
    (scheme.eq_ignore_ascii_case("bearer") && second.is_none()).then_some(credential.trim())
}

/// What everybody is told whose credential is not worth anything, whatever is wrong with it.
pub(crate) fn unauthenticated() -> Problem {
    Problem::new(Kind::Unauthenticated, "send a valid API key or token: Authorization: Bearer …")
}

/// Lets somebody in: credential, then rate.
pub(crate) async fn admit(server: &Service, headers: &HeaderMap, origin: &Origin) -> Result<Principal, Problem> {
    let Some(credential) = bearer(headers) else {
        server.metrics.auth_refused(AuthRefusal::Missing);
        return Err(unauthenticated());
    };
    let principal = server.auth.authenticate(credential).await.map_err(|refused| match refused {
        Refused::Unavailable(error) => error.into(),
        _ => guessed(server, origin),
    })?;
    within_rate(server, &principal)?;
    Ok(principal)
}

/// Whoever sends what is not valid may be guessing: the address is let in less often from now on.
fn guessed(server: &Service, origin: &Origin) -> Problem {
    server.metrics.auth_refused(AuthRefusal::Invalid);
    if let Some(address) = origin.address {
        server.rates.failed(address);
    }
    unauthenticated()
}

pub(crate) fn within_rate(server: &Service, principal: &Principal) -> Result<(), Problem> {
    server.rates.user(&principal.scope).map_err(|limited| {
        server.metrics.rate_limited(RateLimited::User);
        Problem::new(Kind::RateLimited, "too many requests of this user: slow down").after(Some(limited.retry_after))
    })
}

/// A page of another origin may not use what a browser sends along; one that is configured may.
pub(crate) fn same_origin(server: &Service, parts: &Parts) -> Result<(), Problem> {
    let Some(origin) = parts.headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or(parts.uri.authority().map(|authority| authority.as_str()));
    let own = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    if own || server.settings.origins.iter().any(|known| known == origin) {
        return Ok(());
    }
    server.metrics.auth_refused(AuthRefusal::Origin);
    Err(Problem::new(Kind::Forbidden, "pages of this origin may not call this server"))
}

async fn principal(parts: &Parts, server: &Service) -> Result<Principal, Problem> {
    same_origin(server, parts)?;
    let origin = parts.extensions.get::<Origin>();
    let origin =
        origin.ok_or_else(|| Problem::new(Kind::Internal, "the route stands outside of the server's layers"))?;
    admit(server, &parts.headers, origin).await
}

/// What a credential is good for, held against what a route wants.
pub(crate) fn require(server: &Service, principal: &Principal, role: Role, access: Access) -> Result<(), Problem> {
    let detail = match (principal.roles.has(role), principal.access.includes(access)) {
        (true, true) => return Ok(()),
        (false, _) => format!("the credential does not have the role \"{role}\""),
        (_, false) => "the credential may only read".to_owned(),
    };
    server.metrics.auth_refused(AuthRefusal::Role);
    Err(Problem::new(Kind::Forbidden, detail))
}

/// A caller with this role and access.
macro_rules! callers {
    ($($name:ident: $role:expr, $access:expr;)*) => {$(
        impl FromRequestParts<Service> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, server: &Service) -> Result<Self, Problem> {
                let principal = principal(parts, server).await?;
                require(server, &principal, $role, $access)?;
                Ok(Self(principal))
            }
        }
    )*};
}

callers! {
    Reader: Role::User, Access::Read;
    Writer: Role::User, Access::Write;
    Operator: Role::Operator, Access::Read;
    AdminReader: Role::Admin, Access::Read;
    Admin: Role::Admin, Access::Write;
}

impl FromRequestParts<Service> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Service) -> Result<Self, Problem> {
        principal(parts, server).await.map(Self)
    }
}
