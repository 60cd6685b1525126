//! What a token says, once it is known who signed it.

use std::time::Duration;

use insula_context::{ScopeIssuer, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    super::{
        principal::{Credential, Principal},
        roles::{Role, Roles},
    },
    JwtRules, TenantOf,
};

/// Why a token is refused: for the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("{0}")]
    Token(jsonwebtoken::errors::Error),
    #[error("it needs an extension to be understood")]
    Extension,
    #[error("no key that is known could have signed it")]
    NoKey,
    #[error("the claim {0} is missing or of a wrong type")]
    Claim(String),
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("{0}")]
    Name(insula_context::Error),
}

/// The claims of a token whose signature is good.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Whom they name, at this time.
    pub(super) fn principal(&self, rules: &JwtRules, issuer: &ScopeIssuer, now: Timestamp) -> Result<Principal, Why> {
        let expires_at = self.expiry(rules.leeway, now)?;
        let tenant = match &rules.tenant {
            TenantOf::Claim(claim) => self.text(claim)?,
            TenantOf::Fixed(tenant) => tenant,
        };
        let user = self.text(&rules.user_claim)?;
        Ok(Principal {
            scope: issuer.issue(tenant, user).map_err(Why::Name)?,
            roles: self.roles(&rules.roles_claim).intersection(rules.allowed_roles),
            access: rules.access,
            credential: Credential::Token { subject: user.to_owned(), id: self.text("jti").ok().map(str::to_owned) },
            expires_at: Some(expires_at),
        })
    }

    /// When the token stops to be accepted: `exp` and the leeway.
    fn expiry(&self, leeway: Duration, now: Timestamp) -> Result<Timestamp, Why> {
        let expires_at = self.time("exp")?.ok_or_else(|| Why::Claim("exp".to_owned()))?.plus(leeway);
        if expires_at <= now {
            return Err(Why::Expired);
        }
        if self.time("nbf")?.is_some_and(|from| from > now.plus(leeway)) {
            return Err(Why::NotYet);
        }
        Ok(expires_at)
    }

    fn text(&self, claim: &str) -> Result<&str, Why> {
        self.0.get(claim).and_then(Value::as_str).ok_or_else(|| Why::Claim(claim.to_owned()))
    }

    /// A time as seconds since 1970, which may have a fraction.
    fn time(&self, claim: &str) -> Result<Option<Timestamp>, Why> {
        let Some(value) = self.0.get(claim).filter(|value| !value.is_null()) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0).ok_or_else(|| Why::Claim(claim.to_owned()))?;
        let since_epoch = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Ok(Some(Timestamp::from_micros(0).plus(since_epoch)))
    }

    /// The roles that the token claims; that of a user if it has no such claim.
    fn roles(&self, claim: &str) -> Roles {
        match self.0.get(claim) {
            None | Some(Value::Null) => Roles::of(&[Role::User]),
            Some(Value::String(words)) => words.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
            Some(Value::Array(words)) => {
                words.iter().filter_map(Value::as_str).filter_map(|word| word.parse::<Role>().ok()).collect()
            }
            Some(_) => Roles::default(),
        }
    }
}
