//! Pairs of keys, made anew for each run.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::{
    super::{JwtKey, PublicAlgorithm},
    B64,
};

/// A pair of keys, as PEM and as JWK.
pub(in super::super) struct Pair {
    algorithm: Algorithm,
    pub(super) public_pem: String,
    private: EncodingKey,
    jwk: Value,
}

impl Pair {
    pub(in super::super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }

    pub(in super::super) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.private).expect("it can be signed")
    }

    pub(super) fn pem_key(&self, algorithm: PublicAlgorithm) -> JwtKey {
        JwtKey::Pem { kid: None, algorithm, pem: self.public_pem.clone() }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn rsa_pair() -> Pair {
    let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).expect("it can be made");
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).expect("it has a form");
    let public = pair.public_key();
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(public);
    let (n, e) = (public.modulus(), public.exponent());
    Pair {
        algorithm: Algorithm::RS256,
        public_pem: pem("PUBLIC KEY", der.expect("it has a form").as_ref()),
        private: EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("a private key"),
        jwk: json!({"kty": "RSA", "n": B64.encode(n.big_endian_without_leading_zero()),
            "e": B64.encode(e.big_endian_without_leading_zero())}),
    }
}

pub(super) fn ed_pair() -> Pair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("it can be made");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("it was made so");
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key());
    Pair {
        algorithm: Algorithm::EdDSA,
        public_pem: pem("PUBLIC KEY", der.expect("it has a form").as_ref()),
        private: EncodingKey::from_ed_der(pkcs8.as_ref()),
        jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": B64.encode(pair.public_key().as_ref())}),
    }
}

fn ec_pair() -> Pair {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("it can be made");
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("it was made so");
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key());
    let point = pair.public_key().as_ref();
    Pair {
        algorithm: Algorithm::ES256,
        public_pem: pem("PUBLIC KEY", der.expect("it has a form").as_ref()),
        private: EncodingKey::from_ec_der(pkcs8.as_ref()),
        jwk: json!({"kty": "EC", "crv": "P-256", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])}),
    }
}

pub(in super::super) static RSA: LazyLock<Pair> = LazyLock::new(rsa_pair);
pub(in super::super) static ED: LazyLock<Pair> = LazyLock::new(ed_pair);
pub(super) static EC: LazyLock<Pair> = LazyLock::new(ec_pair);
