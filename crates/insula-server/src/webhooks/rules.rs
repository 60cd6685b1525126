//! What may be called, held against the URL and against the address that a connection is made to.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::{
    Url,
    dns::{Addrs, Name, Resolve, Resolving},
};

use super::addresses::is_public;

/// Whether a call may go without encryption.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// Only `https`.
    #[default]
    Refused,
    /// `http` as well: what is told can be read on the way, and who is told cannot be made sure of.
    Allowed,
}

/// What may be called. Strict unless told otherwise: encrypted, and on the public internet.
#[derive(Debug, Clone, Default)]
pub struct WebhookRules {
    /// Whether a call may go without encryption.
    pub plain_http: PlainHttp,
    /// Networks that may be called although they are not public.
    pub allow_networks: Vec<IpNet>,
}

/// An address that may not be called, without saying which: whoever wrote the URL is not to learn what names mean inside.
#[derive(Debug, thiserror::Error)]
#[error("the host has no address that may be called")]
pub(super) struct Forbidden;

impl WebhookRules {
    /// Whether a connection may be made to this address.
    pub(super) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allow_networks.iter().any(|net| net.contains(&address))
    }

    /// What speaks against a URL before anybody has looked up its host.
    pub(super) fn objection(&self, url: &Url) -> Option<&'static str> {
        let scheme = match (url.scheme(), self.plain_http) {
            ("https", _) | ("http", PlainHttp::Allowed) => None,
            ("http", PlainHttp::Refused) => Some("must be https"),
            _ => Some("must be an https URL"),
        };
        let user = (!url.username().is_empty() || url.password().is_some()).then_some("must not name a user");
        let forbidden = literal(url).is_some_and(|address| !self.permits(address));
        scheme.or(user).or(forbidden.then_some("must not lead to an address that is not public"))
    }
}

/// The address that a URL names itself. Nobody is asked to resolve it, so it has to be looked at here.
fn literal(url: &Url) -> Option<IpAddr> {
    url.host_str()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Resolves names to those of their addresses that may be called. The connection is made to what comes of this, and not to
/// what the name means a moment later.
#[derive(Debug)]
pub(super) struct Resolver(pub Arc<WebhookRules>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, name) = (Arc::clone(&self.0), name.as_str().to_owned());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            let permitted: Vec<SocketAddr> = found.filter(|address| rules.permits(address.ip())).collect();
            if permitted.is_empty() { Err(Forbidden.into()) } else { Ok(Box::new(permitted.into_iter()) as Addrs) }
        })
    }
}
