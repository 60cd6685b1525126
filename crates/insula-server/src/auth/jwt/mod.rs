//! JWTs of an issuer that the server was told to trust.
//!
//! Every key is bound to one algorithm, so a token cannot choose how it is checked: `none` names no key, and an RSA public
//! key is never taken for an HMAC secret. Signature, issuer and audience are checked by `jsonwebtoken`; time is
//! checked here, by the injected clock.

mod claims;
mod key;
mod remote;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use insula_context::{Clock, ScopeIssuer};
use jsonwebtoken::{Header, Validation, decode, decode_header};

use self::{
    claims::{Claims, Why},
    key::KeySet,
    remote::Remote,
};
use super::{
    error::{Error, Refused},
    principal::Principal,
    roles::{Access, Role, Roles},
    secret::Secret,
};

/// Keys that are used at most, of all sources together; a set at a URL counts by itself.
pub const MAX_KEYS: usize = 32;

/// Which tokens are accepted, and what they say.
#[derive(Debug)]
#[non_exhaustive]
pub struct JwtRules {
    /// By which keys tokens are checked.
    pub keys: Vec<JwtKey>,
    /// What `iss` must be. Any issuer that has one of the keys, if there is none.
    pub issuer: Option<String>,
    /// What `aud` must be, or contain. If there is none, `aud` is not looked at.
    pub audience: Option<String>,
    /// How much the issuer's clock may differ: 60 s.
    pub leeway: Duration,
    /// Where the tenant comes from: the claim `tenant_id`.
    pub tenant: TenantOf,
    /// The claim that is the user: `sub`.
    pub user_claim: String,
    /// The claim that lists roles, as an array or as words: `roles`. A token without it has the role `user`.
    pub roles_claim: String,
    /// Which roles a token may have: `user` alone. Others that it claims are passed over.
    pub allowed_roles: Roles,
    /// What tokens may do: change things.
    pub access: Access,
}

impl JwtRules {
    /// These keys, and everything else as it is for most.
    pub fn new(keys: Vec<JwtKey>) -> Self {
        Self {
            keys,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(60),
            tenant: TenantOf::Claim("tenant_id".to_owned()),
            user_claim: "sub".to_owned(),
            roles_claim: "roles".to_owned(),
            allowed_roles: Roles::of(&[Role::User]),
            access: Access::Write,
        }
    }

    /// What `jsonwebtoken` checks. The times of a token are checked with our clock.
    fn validation(&self) -> Validation {
        let mut validation = Validation {
            validate_exp: false,
            validate_aud: self.audience.is_some(),
            aud: self.audience.clone().map(|audience| [audience].into()),
            iss: self.issuer.clone().map(|issuer| [issuer].into()),
            ..Validation::default()
        };
        let required = [Some("exp"), self.audience.as_ref().map(|_| "aud"), self.issuer.as_ref().map(|_| "iss")];
        validation.set_required_spec_claims(&required.into_iter().flatten().collect::<Vec<_>>());
        validation
    }
}

/// Where a token's tenant comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantOf {
    /// From this claim.
    Claim(String),
    /// It is always this one.
    Fixed(String),
}

/// Where keys for tokens come from.
pub enum JwtKey {
    /// A secret that is shared with the issuer, of at least 32 bytes: HS256.
    Secret {
        /// Its `kid`, if tokens name one.
        kid: Option<String>,
        /// The secret, as text.
        secret: Secret,
    },
    /// A public key.
    Pem {
        /// Its `kid`, if tokens name one.
        kid: Option<String>,
        /// What it is for.
        algorithm: PublicAlgorithm,
        /// The key, beginning with `-----BEGIN PUBLIC KEY-----`.
        pem: String,
    },
    /// A JWK set (RFC 7517), as JSON.
    Set(String),
    /// Where there is a JWK set. `https`, or `http` on this machine.
    Url(String),
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret { kid, .. } => f.debug_struct("Secret").field("kid", kid).finish_non_exhaustive(),
            Self::Pem { kid, algorithm, .. } => {
                f.debug_struct("Pem").field("kid", kid).field("algorithm", algorithm).finish_non_exhaustive()
            }
            Self::Set(_) => f.write_str("Set"),
            Self::Url(_) => f.write_str("Url"),
        }
    }
}

/// An algorithm with a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicAlgorithm {
    /// RSA, PKCS #1 v1.5, SHA-256; at least 2,048 bits.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// Checks tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    rules: JwtRules,
    keys: KeySet,
    remotes: Vec<Arc<Remote>>,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    pub(super) fn new(mut rules: JwtRules, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (mut keys, mut remotes, validation) = (KeySet::default(), Vec::new(), rules.validation());
        for key in std::mem::take(&mut rules.keys) {
            match key {
                JwtKey::Url(url) => remotes.push(Remote::new(&url, validation.clone(), Arc::clone(&clock))?),
                key => keys.add(&key, &validation)?,
            }
        }
        if keys.is_empty() && remotes.is_empty() {
            return Err(Error::TokenKey { problem: "there is none: name one, or accept no tokens".to_owned() });
        }
        Ok(Self { rules, keys, remotes, clock })
    }

    /// Says whose token this is.
    pub(super) async fn admit(&self, token: &str, issuer: &ScopeIssuer) -> Result<Principal, Refused> {
        let header = header(token).map_err(refused)?;
        let claims = self.verified(token, &header).await?;
        claims.principal(&self.rules, issuer, self.clock.now()).map_err(refused)
    }

    /// The claims, when a key that is known signed them.
    async fn verified(&self, token: &str, header: &Header) -> Result<Claims, Refused> {
        let mut refusal = match verify(token, header, &self.keys) {
            Ok(claims) => return Ok(claims),
            Err(why) => refused(why),
        };
        for remote in &self.remotes {
            refusal = match remote.keys_for(header).await {
                Ok(keys) => match verify(token, header, &keys) {
                    Ok(claims) => return Ok(claims),
                    Err(why) => worse(refusal, refused(why)),
                },
                Err(unavailable) => unavailable,
            };
        }
        Err(refusal)
    }
}

/// Of two refusals the one that says less: where one key could not be asked for, nobody knows.
fn worse(before: Refused, now: Refused) -> Refused {
    if matches!(before, Refused::Unavailable(_)) { before } else { now }
}

/// Reads how the token says that it is signed. An extension that must be understood is not.
fn header(token: &str) -> Result<Header, Why> {
    let header = decode_header(token).map_err(Why::Token)?;
    let is_plain = header.crit.is_none() && header.zip.is_none() && header.enc.is_none();
    if is_plain { Ok(header) } else { Err(Why::Extension) }
}

/// The claims, when one of the keys signed them; otherwise what the last one said.
fn verify(token: &str, header: &Header, keys: &KeySet) -> Result<Claims, Why> {
    let mut why = Why::NoKey;
    for key in keys.for_header(header) {
        match decode(token, &key.key, &key.validation) {
            Ok(token) => return Ok(token.claims),
            Err(error) => why = Why::Token(error),
        }
    }
    Err(why)
}

fn refused(why: Why) -> Refused {
    tracing::debug!(%why, "a token was refused");
    Refused::Credential
}
