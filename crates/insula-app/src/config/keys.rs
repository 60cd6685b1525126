//! Which settings there are.

use crate::environment::PREFIX;

/// A setting's name, its default and what it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    /// As it would be written in the environment; without one, the value is derived from another setting.
    pub default: Option<&'static str>,
    pub about: &'static str,
}

/// Stands for no value where one is optional.
pub(super) const NONE: &str = "none";

const fn key(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, default: Some(default), about }
}

/// Every setting, in the order of the documentation.
pub(crate) const KEYS: &[Key] = &[
    key("data_dir", "./insula-data", "where everything is stored"),
    Key {
        name: "database",
        default: None,
        about: "the database: a file, or postgres://USER:PASSWORD@HOST/NAME; or @FILE",
    },
    key("database_owner", NONE, "the same Postgres as the role that may change the schema, for `insula migrate`"),
    key("database_pooler", "false", "whether a pooler of transactions stands before Postgres: true or false"),
    key("database_direct", NONE, "the same Postgres past the pooler, to be told of news"),
    key("database_reads", NONE, "a replica of it to read lists and logs from"),
    key("database_connections", "10", "connections of this process to Postgres"),
    key("redis", NONE, "a Redis for news, cache and rates of all nodes: redis://HOST:PORT; or @FILE"),
    key("redis_prefix", "insula", "what keys there begin with; nodes of one cluster have the same"),
    key("node", NONE, "what this process is called among the nodes; the machine's name unless said otherwise"),
    key("tenant", "local", "the tenant of the user"),
    key("user", "local", "on whose behalf"),
    key("server", NONE, "the server that commands are done by, instead of here"),
    key("key", NONE, "what that server lets the user in with, or @FILE"),
    key("sync", "full", "a commit waits for the disk (full) or the operating system (normal)"),
    key("log.filter", "warn", "what is logged, by level and target"),
    key("log.format", "text", "how it is logged: text, pretty or json"),
    key("otlp.endpoint", "off", "where traces are sent, as OTLP over HTTP"),
    key("limits.engines", "100", "live engines of a user"),
    key("limits.running", "64", "running runs of a user"),
    key("limits.waiting", "10000", "runs of a user that wait for their turn"),
    key("limits.tool_calls", "64", "tool calls of a user in flight"),
    key("limits.queued", "10000", "runs of a user in the queue that were never begun"),
    key("limits.run_time", "1h", "how long a run may be worked on at a stretch"),
    key("limits.park_after", "1s", "how long a run only waits before nothing of it is in memory"),
    key("limits.lease", "30s", "how long a lost process keeps its runs from others"),
    key("limits.retention", "never", "how long a conversation is kept after its last run"),
    key("limits.grace", "500ms", "how long a stopped agent may take to end"),
    key("limits.connections", "10", "open sockets of a user"),
    key("serve.listen", "127.0.0.1:8080", "where the server listens; other machines reach it only if told so"),
    key("serve.tls_certificate", "", "the certificate's file, in PEM form; without one there is no TLS"),
    key("serve.tls_key", "", "the file of the certificate's private key"),
    key("serve.drain", "30s", "how long runs in progress may take to end when the server goes down"),
    key("serve.origins", "", "origins beside the server's own whose pages may call it"),
    key("serve.proxies", "", "networks of proxies whose X-Forwarded-For is believed"),
    key("serve.user_rate", "1000", "requests of a user in a second"),
    key("serve.address_rate", "5000", "requests from an address in a second"),
    key("serve.connections", "20000", "open connections"),
    key("serve.connections_per_address", "10000", "open connections of an address"),
    key("serve.streams", "50", "streams of server-sent events of a user"),
    key("serve.body_bytes", "1048576", "bytes of a request's body"),
    key("serve.webhook_networks", "", "networks that webhooks may go to although they are not public"),
    key("serve.webhook_http", "refused", "whether webhooks may go without encryption: refused or allowed"),
    key("jwt.secret_file", "", "a file with the secret of HS256 tokens, 32 bytes or more"),
    key("jwt.public_key_file", "", "a file with the public key of tokens, in PEM form"),
    key("jwt.algorithm", "EdDSA", "what that key is for: RS256, ES256 or EdDSA"),
    key("jwt.jwks_file", "", "a file with a JWK set"),
    key("jwt.jwks_url", "", "where there is a JWK set"),
    key("jwt.issuer", "", "what a token's iss must be"),
    key("jwt.audience", "", "what a token's aud must be"),
    key("jwt.leeway", "60s", "how much the issuer's clock may differ"),
    key("jwt.tenant", "", "the tenant of all tokens; without one it is a claim"),
    key("jwt.tenant_claim", "tenant_id", "the claim that is the tenant"),
    key("jwt.user_claim", "sub", "the claim that is the user"),
    key("jwt.roles_claim", "roles", "the claim that lists roles"),
    key("jwt.roles", "user", "the roles that a token may have"),
];

/// The setting of this name.
pub(crate) fn named(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The names of all, for whoever used another.
pub(crate) fn names() -> String {
    KEYS.iter().map(|key| key.name).collect::<Vec<_>>().join(", ")
}

/// Other names of variables, by which deployments know these two.
const ALSO: &[(&str, &str)] = &[("database", "INSULA_DATABASE_URL"), ("redis", "INSULA_REDIS_URL")];

/// The setting that a variable of the environment is for.
pub(super) fn of_variable(variable: &str) -> Option<&'static Key> {
    let also = ALSO.iter().find(|(_, other)| *other == variable).and_then(|(name, _)| named(name));
    also.or_else(|| KEYS.iter().find(|key| key.variable() == variable))
}

impl Key {
    /// Its variable in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_uppercase().replace('.', "_"))
    }
}
