//! What tokens are let in, and what is refused.

pub(super) mod pairs;

use std::sync::Arc;

use base64::Engine as _;
use insula_infra::{MemoryBackend, conformance::ManualClock};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use self::pairs::{EC, ED, RSA, ed_pair};
use super::super::{Authenticator, Credential, tests::scope_of};
use super::*;

const SECRET: &str = "a secret for tests of 32 bytes..";
const B64: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

fn secret_key() -> JwtKey {
    JwtKey::Secret { kid: None, secret: Secret::new(SECRET) }
}

/// An authenticator that trusts an issuer, and its clock.
pub(super) struct Door {
    pub(super) auth: Authenticator,
    pub(super) clock: Arc<ManualClock>,
}

impl Door {
    pub(super) fn new(rules: JwtRules) -> Self {
        let clock = Arc::new(ManualClock::new());
        let keys = MemoryBackend::with(Arc::clone(&clock) as _).into_backend().keys;
        let auth = Authenticator::builder(keys).clock(Arc::clone(&clock) as _).jwt(rules).build();
        Self { auth: auth.expect("the rules are good"), clock }
    }

    fn of(key: JwtKey) -> Self {
        Self::new(JwtRules::new(vec![key]))
    }

    pub(super) fn seconds(&self) -> i64 {
        self.clock.now().as_micros() / 1_000_000
    }

    /// Claims of Ada's, good for ten minutes.
    pub(super) fn claims(&self) -> Value {
        json!({"sub": "ada", "tenant_id": "acme", "exp": self.seconds() + 600})
    }

    /// The claims with others over them; `null` removes one.
    fn with(&self, over: Value) -> Value {
        let mut claims = self.claims();
        for (name, value) in over.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
        claims
    }

    async fn enter(&self, claims: &Value) -> Result<Principal, Refused> {
        self.auth.authenticate(&signed_by_secret(claims)).await
    }

    pub(super) async fn assert_refused(&self, token: &str, case: &str) {
        let answer = self.auth.authenticate(token).await;
        assert!(matches!(answer, Err(Refused::Credential)), "{case}: {answer:?}");
    }
}

fn signed_by_secret(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("it can be signed")
}

/// A token of these parts, signed by whatever.
fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |value: &Value| B64.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(claims), B64.encode(signature))
}

#[tokio::test]
async fn a_token_is_the_user_whom_its_issuer_names() {
    let door = Door::of(secret_key());
    let principal = door.enter(&door.with(json!({"jti": "t-1"}))).await.expect("it is a good token");
    assert_eq!(principal.scope, scope_of("ada"));
    assert_eq!((principal.roles, principal.access), (Roles::of(&[Role::User]), Access::Write));
    assert_eq!(principal.credential, Credential::Token { subject: "ada".to_owned(), id: Some("t-1".to_owned()) });
    let lasts = principal.expires_at.map(|at| at.since(door.clock.now()));
    assert_eq!(lasts, Some(Duration::from_secs(660)), "to the end of the leeway");
}

#[tokio::test]
async fn every_algorithm_lets_in_by_pem_and_by_set() {
    let pairs = [(&*RSA, PublicAlgorithm::Rs256), (&*ED, PublicAlgorithm::EdDsa), (&*EC, PublicAlgorithm::Es256)];
    for (pair, algorithm) in pairs {
        let by_pem = Door::of(pair.pem_key(algorithm));
        let by_set = Door::of(JwtKey::Set(json!({"keys": [pair.jwk("k1")]}).to_string()));
        for (door, kid) in [(&by_pem, None), (&by_pem, Some("any")), (&by_set, Some("k1")), (&by_set, None)] {
            let token = pair.sign(kid, &door.claims());
            let entered = door.auth.authenticate(&token).await;
            assert!(entered.is_ok(), "{algorithm:?} {kid:?}: {entered:?}");
        }
        by_set.assert_refused(&pair.sign(Some("k2"), &by_set.claims()), "unknown kid").await;
    }
}

#[tokio::test]
async fn a_token_that_somebody_else_signed_is_refused() {
    let door = Door::of(ED.pem_key(PublicAlgorithm::EdDsa));
    let stranger = ed_pair();
    door.assert_refused(&stranger.sign(None, &door.claims()), "another key").await;

    let token = ED.sign(None, &door.claims());
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = message.split_once('.').expect("two parts");
    let mallory = B64.encode(door.with(json!({"sub": "mallory"})).to_string());
    door.assert_refused(&format!("{header}.{mallory}.{signature}"), "other claims under the signature").await;
}

#[tokio::test]
async fn a_token_does_not_choose_how_it_is_checked() {
    let door = Door::of(RSA.pem_key(PublicAlgorithm::Rs256));
    let claims = door.claims();
    for algorithm in ["none", "None", "NONE", "HS256", "RS256", "PS256", "RS512", ""] {
        let token = forged(&json!({"alg": algorithm, "typ": "JWT"}), &claims, b"anything");
        door.assert_refused(&token, algorithm).await;
    }
    let unsigned = forged(&json!({"alg": "none"}), &claims, b"");
    door.assert_refused(&unsigned, "no signature").await;

    // The classic: the public key, which everybody has, taken for an HMAC secret.
    let public = RSA.public_pem.as_bytes();
    for secret in [public, public.trim_ascii()] {
        let header = Header::new(Algorithm::HS256);
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret)).expect("signs");
        door.assert_refused(&token, "HS256 under the RSA public key").await;
        let both = Door::new(JwtRules::new(vec![RSA.pem_key(PublicAlgorithm::Rs256), secret_key()]));
        both.assert_refused(&token, "the same beside a real secret").await;
    }
}

#[tokio::test]
async fn extensions_that_must_be_understood_are_not() {
    let door = Door::of(secret_key());
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let header = Header { crit: Some(vec!["b64".to_owned()]), ..Header::new(Algorithm::HS256) };
    let token = jsonwebtoken::encode(&header, &door.claims(), &key).expect("it can be signed");
    door.assert_refused(&token, "crit").await;
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_no_more() {
    let door = Door::of(secret_key());
    let now = door.seconds();
    let cases = [
        (json!({"exp": now - 59}), true),
        (json!({"exp": now - 60}), false),
        (json!({"exp": now as f64 - 59.5}), true),
        (json!({"exp": now - 3_600}), false),
        (json!({"nbf": now + 60}), true),
        (json!({"nbf": now + 61}), false),
        (json!({"nbf": now - 1_000_000}), true),
        (json!({"exp": u64::MAX / 2}), true),
    ];
    for (over, is_let_in) in cases {
        assert_eq!(door.enter(&door.with(over.clone())).await.is_ok(), is_let_in, "{over}");
    }

    let token = signed_by_secret(&door.claims());
    door.clock.advance(Duration::from_secs(659));
    assert!(door.auth.authenticate(&token).await.is_ok());
    door.clock.advance(Duration::from_secs(1));
    door.assert_refused(&token, "expired").await;
}

#[tokio::test]
async fn claims_that_are_missing_or_senseless_are_refused() {
    let door = Door::of(secret_key());
    let cases = [
        json!({"exp": null}),
        json!({"exp": "tomorrow"}),
        json!({"exp": -1}),
        json!({"exp": true}),
        json!({"exp": 1e300}),
        json!({"nbf": "yesterday"}),
        json!({"nbf": -5}),
        json!({"sub": null}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "null"}),
        json!({"sub": "a\u{7}"}),
        json!({"tenant_id": null}),
        json!({"tenant_id": ["acme"]}),
    ];
    for over in cases {
        door.assert_refused(&signed_by_secret(&door.with(over.clone())), &over.to_string()).await;
    }
    for claims in [json!([]), json!("ada"), json!(null)] {
        door.assert_refused(&signed_by_secret(&claims), &claims.to_string()).await;
    }
}

#[tokio::test]
async fn issuer_and_audience_must_be_the_configured_ones() {
    let rules = JwtRules {
        issuer: Some("https://id.example.org".to_owned()),
        audience: Some("insula".to_owned()),
        ..JwtRules::new(vec![secret_key()])
    };
    let door = Door::new(rules);
    let (iss, aud) = ("https://id.example.org", "insula");
    let good = [json!({"iss": iss, "aud": aud}), json!({"iss": iss, "aud": ["other", aud]})];
    for over in good {
        assert!(door.enter(&door.with(over.clone())).await.is_ok(), "{over}");
    }
    let bad = [
        json!({"iss": iss}),
        json!({"aud": aud}),
        json!({"iss": "https://id.example.com", "aud": aud}),
        json!({"iss": iss, "aud": "another"}),
        json!({"iss": iss, "aud": []}),
        json!({"iss": iss, "aud": ["another"]}),
        json!({"iss": iss, "aud": {"a": aud}}),
        json!({"iss": 7, "aud": aud}),
    ];
    for over in bad {
        door.assert_refused(&signed_by_secret(&door.with(over.clone())), &over.to_string()).await;
    }
    let indifferent = Door::of(secret_key());
    assert!(indifferent.enter(&indifferent.with(json!({"aud": "whoever"}))).await.is_ok());
}

#[tokio::test]
async fn an_issuer_makes_admins_only_where_it_is_allowed_to() {
    let cautious = Door::of(secret_key());
    let user = Roles::of(&[Role::User]);
    let cases = [
        (json!({}), user),
        (json!({"roles": ["user", "admin", "operator"]}), user),
        (json!({"roles": "user admin"}), user),
        (json!({"roles": ["admin"]}), Roles::default()),
        (json!({"roles": ["Admin", "root", 7]}), Roles::default()),
        (json!({"roles": {"user": true}}), Roles::default()),
    ];
    for (over, roles) in cases {
        let principal = cautious.enter(&cautious.with(over.clone())).await.expect("it is a good token");
        assert_eq!(principal.roles, roles, "{over}");
    }
    let allowed_roles = Roles::of(&[Role::User, Role::Admin]);
    let trusting = Door::new(JwtRules { allowed_roles, ..JwtRules::new(vec![secret_key()]) });
    let claims = trusting.with(json!({"roles": ["user", "admin", "operator"]}));
    assert_eq!(trusting.enter(&claims).await.expect("it is a good token").roles, allowed_roles);
}

#[tokio::test]
async fn claims_may_have_other_names_and_the_tenant_may_be_fixed() {
    let door = Door::new(JwtRules {
        tenant: TenantOf::Fixed("acme".to_owned()),
        user_claim: "email".to_owned(),
        roles_claim: "https://example.org/roles".to_owned(),
        access: Access::Read,
        ..JwtRules::new(vec![secret_key()])
    });
    let over = json!({"tenant_id": "other", "sub": "7", "email": "ada", "https://example.org/roles": ["user"]});
    let principal = door.enter(&door.with(over)).await.expect("it is a good token");
    assert_eq!((principal.scope, principal.access), (scope_of("ada"), Access::Read));
}

#[test]
fn keys_that_cannot_be_used_are_refused_when_the_server_starts() {
    let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
    let set = |keys: Vec<Value>| JwtKey::Set(json!({ "keys": keys }).to_string());
    let symmetric = json!({"kty": "oct", "k": B64.encode(SECRET), "alg": "HS256"});
    let mut for_encryption = RSA.jwk("k");
    for_encryption["use"] = "enc".into();
    let mut for_another = RSA.jwk("k");
    for_another["alg"] = "RS512".into();
    let cases = [
        JwtKey::Secret { kid: None, secret: Secret::new(&SECRET[1..]) },
        JwtKey::Pem { kid: None, algorithm: PublicAlgorithm::EdDsa, pem: private },
        JwtKey::Pem { kid: None, algorithm: PublicAlgorithm::EdDsa, pem: "nonsense".to_owned() },
        RSA.pem_key(PublicAlgorithm::EdDsa),
        ED.pem_key(PublicAlgorithm::Rs256),
        JwtKey::Set("[]".to_owned()),
        set(Vec::new()),
        set(vec![symmetric, for_encryption, for_another, json!({"kty": "new"}), json!(7)]),
        set((0..=MAX_KEYS).map(|n| ED.jwk(&n.to_string())).collect()),
        JwtKey::Url("http://id.example.org/jwks".to_owned()),
        JwtKey::Url("https://user:password@id.example.org/jwks".to_owned()),
        JwtKey::Url("ftp://127.0.0.1/jwks".to_owned()),
        JwtKey::Url("nonsense".to_owned()),
    ];
    for key in cases {
        let shown = format!("{key:?}");
        let tokens = Tokens::new(JwtRules::new(vec![key]), Arc::new(ManualClock::new()));
        assert!(matches!(tokens, Err(Error::TokenKey { .. })), "{shown}: {tokens:?}");
    }
    assert!(Tokens::new(JwtRules::new(Vec::new()), Arc::new(ManualClock::new())).is_err());
    let mixed = set(vec![json!({"kty": "new"}), ED.jwk("k")]);
    assert!(Tokens::new(JwtRules::new(vec![mixed]), Arc::new(ManualClock::new())).is_ok());
}

#[test]
fn rules_are_printed_without_their_secrets() {
    let keys =
        vec![secret_key(), RSA.pem_key(PublicAlgorithm::Rs256), JwtKey::Url("https://id.example.org/?t=hush".into())];
    let shown = format!("{:?}", JwtRules::new(keys));
    assert!(!shown.contains(SECRET) && !shown.contains("BEGIN") && !shown.contains("hush"), "{shown}");
    let tokens = Tokens::new(JwtRules::new(vec![secret_key()]), Arc::new(ManualClock::new())).expect("good rules");
    let shown = format!("{tokens:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(&format!("{:?}", SECRET.as_bytes())), "{shown}");
}
