//! Where a request came from, for the audit.

use std::net::IpAddr;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use insula_context::{ContextBuilder, RequestId, TraceContext};
use insula_engine::RunRequest;

use crate::problem::{Kind, Problem};

/// Where a request came from. Every request has one; it holds no secret and no content.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The id that was sent, or a fresh one.
    pub request: RequestId,
    /// What the caller wants to recognise it by.
    pub correlation: Option<String>,
    /// The trace to continue.
    pub trace: Option<TraceContext>,
    /// The caller's address, where it is known.
    pub address: Option<IpAddr>,
    /// The method.
    pub method: String,
    /// The path, without its query: tickets are in queries.
    pub path: String,
}

impl Origin {
    /// What goes into an audit map, beside what a context has places of its own for.
    fn entries(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let entries = [
            ("http_method", Some(self.method.clone())),
            ("http_path", Some(self.path.clone())),
            ("client_address", self.address.map(|address| address.to_string())),
            ("correlation_id", self.correlation.clone()),
        ];
        entries.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }

    /// Puts it into a context: the request's id, the trace, and the rest into the audit map.
    pub fn apply(&self, context: ContextBuilder) -> ContextBuilder {
        let context = context.request(self.request.clone());
        let context = match &self.trace {
            Some(trace) => context.trace(trace.clone()),
            None => context,
        };
        self.entries().fold(context, |context, (key, value)| context.audit(key, value))
    }

    /// Puts it into a submission, whose context is made later, perhaps by another process.
    pub(crate) fn submit(&self, request: RunRequest) -> RunRequest {
        let request = request.audit("origin_request_id", self.request.as_str());
        let request = match &self.trace {
            Some(trace) => request.trace(trace.clone()),
            None => request,
        };
        self.entries().fold(request, |request, (key, value)| request.audit(key, value))
    }
}

/// A header's text, where it is short and printable.
pub(crate) fn short<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?;
    (!text.is_empty() && text.len() <= insula_context::id::MAX_BYTES).then_some(text)
}

/// Reads a W3C `traceparent`. One that is none is no trace.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    short(headers, "traceparent")?.parse().ok()
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let origin = parts.extensions.get::<Self>().cloned();
        origin.ok_or_else(|| Problem::new(Kind::Internal, "the route stands outside of the server's layers"))
    }
}
