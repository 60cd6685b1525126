//! Which Redis: what is said of it never has the password.

use std::time::Duration;

use fred::{
    clients::{Client, SubscriberClient},
    types::{
        Builder,
        config::{Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, UnresponsiveConfig},
    },
};
use insula_infra::Error;

/// Commands that wait for a connection. More than that fail at once.
const WAITING_COMMANDS: usize = 10_000;
/// Messages that may wait for this node to read them.
const WAITING_MESSAGES: usize = 8_192;

/// A server, its sentinels or its cluster.
#[derive(Clone)]
pub(crate) struct Address {
    shown: String,
    config: Config,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    /// Reads a URL.
    ///
    /// The driver's own words about a URL may quote it, so they are not passed on.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let shown = shown(url);
        let refuse = |problem: &str| Error::Database { file: shown.clone(), problem: problem.to_owned(), source: None };
        if !SCHEMES.iter().any(|scheme| url.split("://").next() == Some(*scheme)) {
            return Err(refuse(
                "this is no address of a Redis: write redis://HOST:PORT, or rediss:// for TLS, \
                               redis-sentinel:// or redis-cluster://",
            ));
        }
        let mut config = Config::from_url(url).map_err(|_| {
            refuse(
                "this address cannot be read: write redis://[USER:PASSWORD@]HOST:PORT[/DATABASE], special \
                    characters of the password as %XX, and for sentinels ?sentinelServiceName=NAME",
            )
        })?;
        config.fail_fast = false;
        Ok(Self { shown, config })
    }

    /// The scheme and the host: for errors, logs and health.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// One connection for commands and one to listen.
    pub(crate) fn clients(&self, answer_within: Duration) -> Result<(Client, SubscriberClient), Error> {
        let mut builder = Builder::from_config(self.config.clone());
        builder.set_connection_config(connection(answer_within));
        builder.set_performance_config(PerformanceConfig {
            default_command_timeout: answer_within,
            broadcast_channel_capacity: WAITING_MESSAGES,
            ..Default::default()
        });
        builder.set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2));
        let refuse = |error: fred::error::Error| Error::Database {
            file: self.shown.clone(),
            problem: "the client cannot be made".to_owned(),
            source: Some(std::sync::Arc::new(error)),
        };
        Ok((builder.build().map_err(refuse)?, builder.build_subscriber_client().map_err(refuse)?))
    }
}

const SCHEMES: &[&str] = &["redis", "rediss", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

fn connection(answer_within: Duration) -> ConnectionConfig {
    ConnectionConfig {
        connection_timeout: answer_within,
        internal_command_timeout: answer_within,
        // A command that may have been carried out is not sent again: who asked for it decides.
        max_command_attempts: 1,
        max_command_buffer_len: WAITING_COMMANDS,
        unresponsive: UnresponsiveConfig { max_timeout: Some(answer_within * 2), interval: answer_within / 2 },
        ..Default::default()
    }
}

/// A URL without what stands before the last `@`, and without its query: both may have passwords.
fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let rest = rest.rsplit('@').next().unwrap_or_default();
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if scheme.is_empty() { "the address of Redis".to_owned() } else { format!("{scheme}://{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_password() {
        for (url, expected) in [
            ("redis://ada:s3cret@cache.example:6380/2", "redis://cache.example:6380"),
            ("redis://:s3cret@h", "redis://h"),
            ("redis://ada:s3@cret@h:1", "redis://h:1"),
            ("redis-sentinel://h:1?sentinelServiceName=m&sentinelPassword=s3cret", "redis-sentinel://h:1"),
            ("s3cret", "the address of Redis"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn a_wrong_address_is_a_typed_error_without_the_password() {
        for url in ["http://ada:s3cret@h", "redis://ada:s3cret@:x:y", "s3cret", "redis-sentinel://u:s3cret@h:1"] {
            let error = Address::parse(url).expect_err(url);
            let words = format!("{error} {error:?}");
            assert!(matches!(error, Error::Database { .. }), "{words}");
            assert!(!words.contains("s3cret"), "{words}");
        }
    }

    #[test]
    fn a_right_one_is_read_and_debug_has_no_password() {
        for url in ["redis://h", "rediss://u:s3cret@h:1", "redis-cluster://u:s3cret@h:1?node=i:2"] {
            assert!(!format!("{:?}", Address::parse(url).expect(url)).contains("s3cret"));
        }
    }
}
