//! The settings of `insula serve`.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use config::ConfigError;
use insula_server::{
    Settings as ServerSettings,
    auth::{JwtKey, JwtRules, PublicAlgorithm, Rate, RateRules, Role, Secret, TenantOf},
};

use super::read::Values;
use crate::exit::Stop;

/// Everything about listening and letting in.
#[derive(Debug, Clone)]
pub(crate) struct Serve {
    pub listen: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub server: ServerSettings,
    pub rates: RateRules,
    pub jwt: Option<Jwt>,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Whose tokens are taken. Files are read when the server starts.
#[derive(Debug, Clone)]
pub(crate) struct Jwt {
    secret_file: Option<PathBuf>,
    public_key_file: Option<PathBuf>,
    algorithm: PublicAlgorithm,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    tenant: TenantOf,
    user_claim: String,
    roles_claim: String,
    roles: Vec<Role>,
}

/// Reads and checks them.
pub(super) fn serve(values: &Values) -> Result<Serve, Stop> {
    let listen = values
        .parsed("serve.listen", |text| text.parse().map_err(|_| "an address and a port are wanted: 127.0.0.1:8080"))?;
    Ok(Serve { listen, tls: tls(values)?, server: server(values)?, rates: rates(values)?, jwt: jwt(values)? })
}

fn tls(values: &Values) -> Result<Option<TlsFiles>, Stop> {
    match (values.optional_path("serve.tls_certificate")?, values.optional_path("serve.tls_key")?) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        _ => Err(Stop::configuration("serve.tls_certificate and serve.tls_key belong together: give both, or neither")),
    }
}

fn server(values: &Values) -> Result<ServerSettings, Stop> {
    let mut settings = ServerSettings {
        body_bytes: values.count("serve.body_bytes")?,
        connections: values.count("serve.connections")?,
        connections_per_address: values.count("serve.connections_per_address")?,
        streams: values.count("serve.streams")?,
        origins: values.list("serve.origins")?,
        proxies: values.parsed_list("serve.proxies", "a network is wanted: 10.0.0.0/8")?,
        drain: values.duration("serve.drain")?,
        ..ServerSettings::default()
    };
    settings.webhooks.allow_networks =
        values.parsed_list("serve.webhook_networks", "a network is wanted: 10.0.0.0/8")?;
    settings.webhooks.plain_http = values.choice(
        "serve.webhook_http",
        &[
            ("refused", insula_server::webhooks::PlainHttp::Refused),
            ("allowed", insula_server::webhooks::PlainHttp::Allowed),
        ],
    )?;
    Ok(settings)
}

fn rates(values: &Values) -> Result<RateRules, Stop> {
    let per_second = |key| -> Result<Rate, Stop> {
        let count = u32::try_from(values.count(key)?).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX);
        Ok(Rate::per_second(count, count.saturating_mul(BURST)))
    };
    let mut rates = RateRules::default();
    rates.user = per_second("serve.user_rate")?;
    rates.address = per_second("serve.address_rate")?;
    Ok(rates)
}

/// How many seconds' worth of requests may come at once.
const BURST: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");

fn jwt(values: &Values) -> Result<Option<Jwt>, Stop> {
    let jwt = Jwt {
        secret_file: values.optional_path("jwt.secret_file")?,
        public_key_file: values.optional_path("jwt.public_key_file")?,
        algorithm: values.parsed("jwt.algorithm", algorithm)?,
        jwks_file: values.optional_path("jwt.jwks_file")?,
        jwks_url: values.optional("jwt.jwks_url")?,
        issuer: values.optional("jwt.issuer")?,
        audience: values.optional("jwt.audience")?,
        leeway: values.duration("jwt.leeway")?,
        tenant: match values.optional("jwt.tenant")? {
            Some(tenant) => TenantOf::Fixed(tenant),
            None => TenantOf::Claim(values.text("jwt.tenant_claim")?),
        },
        user_claim: values.text("jwt.user_claim")?,
        roles_claim: values.text("jwt.roles_claim")?,
        roles: values.parsed_list("jwt.roles", "a role is user, operator or admin")?,
    };
    let has_key =
        jwt.secret_file.is_some() || jwt.public_key_file.is_some() || jwt.jwks_file.is_some() || jwt.jwks_url.is_some();
    Ok(has_key.then_some(jwt))
}

fn algorithm(word: &str) -> Result<PublicAlgorithm, &'static str> {
    match word {
        "RS256" => Ok(PublicAlgorithm::Rs256),
        "ES256" => Ok(PublicAlgorithm::Es256),
        "EdDSA" => Ok(PublicAlgorithm::EdDsa),
        _ => Err("an algorithm is RS256, ES256 or EdDSA"),
    }
}

impl Jwt {
    /// The rules, with the files read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn rules(self) -> Result<JwtRules, Stop> {
        let mut keys = Vec::new();
        if let Some(file) = &self.secret_file {
            keys.push(JwtKey::Secret { kid: None, secret: Secret::new(text(file)?.trim_end()) });
        }
        if let Some(file) = &self.public_key_file {
            keys.push(JwtKey::Pem { kid: None, algorithm: self.algorithm, pem: text(file)? });
        }
        if let Some(file) = &self.jwks_file {
            keys.push(JwtKey::Set(text(file)?));
        }
        keys.extend(self.jwks_url.map(JwtKey::Url));
        let mut rules = JwtRules::new(keys);
        rules.issuer = self.issuer;
        rules.audience = self.audience;
        rules.leeway = self.leeway;
        rules.tenant = self.tenant;
        rules.user_claim = self.user_claim;
        rules.roles_claim = self.roles_claim;
        rules.allowed_roles = self.roles.into_iter().collect();
        Ok(rules)
    }
}

fn text(file: &std::path::Path) -> Result<String, Stop> {
    std::fs::read_to_string(file)
        .map_err(|error| Stop::configuration(format!("{} cannot be read", file.display())).because(error))
}

impl Values {
    /// A value that says nothing where it is empty.
    fn optional(&self, key: &str) -> Result<Option<String>, Stop> {
        let text = self.read(key, config::Value::into_string)?;
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }

    fn optional_path(&self, key: &str) -> Result<Option<PathBuf>, Stop> {
        match self.optional(key)? {
            Some(_) => self.path(key).map(Some),
            None => Ok(None),
        }
    }

    fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, &'static str>) -> Result<T, Stop> {
        self.read(key, |value| {
            let text = value.into_string()?;
            parse(&text).map_err(|problem| ConfigError::Message(format!("\"{text}\": {problem}")))
        })
    }

    /// An array, or text with commas.
    fn list(&self, key: &str) -> Result<Vec<String>, Stop> {
        self.read(key, |value| match value.kind {
            config::ValueKind::Array(items) => items.into_iter().map(config::Value::into_string).collect(),
            kind => {
                let text = config::Value::new(None, kind).into_string()?;
                Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
        })
    }

    fn parsed_list<T: std::str::FromStr>(&self, key: &str, wanted: &str) -> Result<Vec<T>, Stop> {
        let items = self.list(key)?;
        let parsed: Result<Vec<T>, String> =
            items.iter().map(|item| item.parse().map_err(|_| format!("\"{item}\": {wanted}"))).collect();
        self.read(key, |_| parsed.map_err(ConfigError::Message))
    }
}
