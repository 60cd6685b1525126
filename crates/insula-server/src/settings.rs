//! How much the server takes, and from where.

use std::time::Duration;

use ipnet::IpNet;

use crate::webhooks::WebhookRules;

/// What can be set. The defaults are those of the binary.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of a request's body; more is refused with 413.
    pub body_bytes: usize,
    /// Bytes of an archive that is imported.
    pub import_bytes: usize,
    /// Bytes of a URL; more is refused with 414.
    pub url_bytes: usize,
    /// Bytes of all headers of a request together; more is refused with 431.
    pub header_bytes: usize,
    /// How long a client may take to send its headers.
    pub header_time: Duration,
    /// How long a request may take, its body included. `?wait` comes on top; streams are not meant.
    pub request_time: Duration,
    /// Open connections; more wait until the operating system refuses them.
    pub connections: usize,
    /// Open connections of one address; more are closed at once.
    pub connections_per_address: usize,
    /// Streams of server-sent events of one user.
    pub streams: usize,
    /// Origins beside the server's own whose pages may call it, `https://app.example.org` for example.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub proxies: Vec<IpNet>,
    /// Where webhooks may go.
    pub webhooks: WebhookRules,
    /// How long the runs in progress may take to end when the server goes down.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            import_bytes: 64 << 20,
            url_bytes: 8 << 10,
            header_bytes: 32 << 10,
            header_time: Duration::from_secs(10),
            request_time: Duration::from_secs(30),
            connections: 20_000,
            connections_per_address: 10_000,
            streams: 50,
            origins: Vec::new(),
            proxies: Vec::new(),
            webhooks: WebhookRules::default(),
            drain: Duration::from_secs(30),
        }
    }
}
