//! Keys that tokens are checked with, each bound to its one algorithm.

use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

use super::{super::error::Error, JwtKey, MAX_KEYS, PublicAlgorithm};

/// A secret of fewer bytes than the hash has is weaker than the algorithm.
const MIN_SECRET_BYTES: usize = 32;

/// A key, and how it is used.
#[derive(Debug)]
pub(super) struct TokenKey {
    kid: Option<String>,
    algorithm: Algorithm,
    pub(super) key: DecodingKey,
    pub(super) validation: Validation,
}

impl TokenKey {
    fn new(kid: Option<String>, algorithm: Algorithm, key: DecodingKey, validation: &Validation) -> Self {
        let validation = Validation { algorithms: vec![algorithm], ..validation.clone() };
        Self { kid, algorithm, key, validation }
    }

    /// A key that has a name is used for tokens that name it, or none.
    fn may_have_signed(&self, header: &Header) -> bool {
        let is_named = match (&self.kid, &header.kid) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        is_named && self.algorithm == header.alg
    }
}

/// Keys together.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<TokenKey>);

impl KeySet {
    /// The usable keys of a JWK set. Those for something else are passed over, as the RFC wants it.
    pub(super) fn of_jwks(json: &[u8], validation: &Validation) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct JwkSet {
            keys: Vec<Value>,
        }
        let set: JwkSet = serde_json::from_slice(json).map_err(|_| problem("what should be a JWK set is none"))?;
        let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<_> = jwks.filter_map(|jwk| of_jwk(&jwk, validation)).take(MAX_KEYS + 1).collect();
        if keys.is_empty() {
            return Err(problem("the JWK set has no key for RS256, ES256 or EdDSA signatures"));
        }
        Self::default().with(keys)
    }

    /// Adds what was configured.
    pub(super) fn add(&mut self, key: &JwtKey, validation: &Validation) -> Result<(), Error> {
        let keys = match key {
            JwtKey::Secret { kid, secret } => vec![of_secret(kid.clone(), secret.expose(), validation)?],
            JwtKey::Pem { kid, algorithm, pem } => vec![of_pem(kid.clone(), *algorithm, pem, validation)?],
            JwtKey::Set(json) => Self::of_jwks(json.as_bytes(), validation)?.0,
            JwtKey::Url(_) => Vec::new(),
        };
        *self = std::mem::take(self).with(keys)?;
        Ok(())
    }

    fn with(mut self, keys: Vec<TokenKey>) -> Result<Self, Error> {
        self.0.extend(keys);
        match self.0.len() {
            0..=MAX_KEYS => Ok(self),
            _ => Err(problem(format!("there are too many: at most {MAX_KEYS} are tried"))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys that could have signed a token with this header.
    pub(super) fn for_header(&self, header: &Header) -> impl Iterator<Item = &TokenKey> {
        self.0.iter().filter(move |key| key.may_have_signed(header))
    }
}

fn of_secret(kid: Option<String>, secret: &str, validation: &Validation) -> Result<TokenKey, Error> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(problem(format!("a secret for HS256 has at least {MIN_SECRET_BYTES} bytes")));
    }
    Ok(TokenKey::new(kid, Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes()), validation))
}

fn of_pem(
    kid: Option<String>,
    algorithm: PublicAlgorithm,
    pem: &str,
    validation: &Validation,
) -> Result<TokenKey, Error> {
    if pem.contains("PRIVATE KEY") {
        return Err(problem("it is a private key: give the public one, and keep that one from this server"));
    }
    let bytes = pem.as_bytes();
    let (algorithm, key) = match algorithm {
        PublicAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_pem(bytes)),
        PublicAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_pem(bytes)),
        PublicAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(bytes)),
    };
    let key = key.map_err(|_| problem(format!("the PEM is not a public key for {algorithm:?}")))?;
    Ok(TokenKey::new(kid, algorithm, key, validation))
}

/// `None` for what is not a public key for signatures of an algorithm that is known here. Symmetric keys are not taken from
/// sets, which are meant to be public.
fn of_jwk(jwk: &Jwk, validation: &Validation) -> Option<TokenKey> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|algorithm| algorithm == named);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures)?;
    Some(TokenKey::new(common.key_id.clone(), algorithm, key, validation))
}

fn problem(problem: impl Into<String>) -> Error {
    Error::TokenKey { problem: problem.into() }
}
