//! The only place that reads the environment.

use std::collections::BTreeMap;

/// What a variable of ours begins with.
pub(crate) const PREFIX: &str = "INSULA_";

/// Where traces are sent, by the standard that every exporter follows.
pub(crate) const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What the environment says, read once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// Variables that begin with [`PREFIX`] and are not empty, by their whole name.
    pub ours: BTreeMap<String, String>,
    /// `NO_COLOR` is set, or the terminal says that it is dumb.
    pub without_colour: bool,
    /// [`OTLP_ENDPOINT`].
    pub otlp_endpoint: Option<String>,
}

impl Environment {
    /// Reads it. A variable that is not text is none of ours.
    pub(crate) fn read() -> Self {
        let mut environment = Self::default();
        // Not `vars`, which panics over a variable that is not Unicode.
        for (name, value) in std::env::vars_os() {
            let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
            match name {
                _ if value.is_empty() => {}
                "NO_COLOR" => environment.without_colour = true,
                "TERM" if value == "dumb" => environment.without_colour = true,
                OTLP_ENDPOINT => environment.otlp_endpoint = Some(value.to_owned()),
                _ if name.starts_with(PREFIX) => {
                    environment.ours.insert(name.to_owned(), value.to_owned());
                }
                _ => {}
            }
        }
        environment
    }
}

/// What the machine is called, as far as that is a name for a node: the part before the first dot, or `insula`.
pub(crate) fn machine() -> String {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let name: String = host.split('.').next().unwrap_or_default().chars().filter(|c| is_plain(*c)).take(60).collect();
    if name.is_empty() { "insula".to_owned() } else { name }
}
