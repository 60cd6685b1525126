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

/// Reads a W3C `traceparent`, version 00. One that is none is no trace.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    let text = short(headers, "traceparent")?;
    let parts: Vec<&str> = text.split('-').collect();
    let [version, trace_id, span_id, _flags] = parts[..] else { return None };
    let hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_one = version == "00" && hex(trace_id, 32) && hex(span_id, 16);
    let is_zero = |text: &str| text.bytes().all(|b| b == b'0');
    (is_one && !is_zero(trace_id) && !is_zero(span_id))
        .then(|| TraceContext { trace_id: trace_id.to_owned(), span_id: span_id.to_owned() })
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let origin = parts.extensions.get::<Self>().cloned();
        origin.ok_or_else(|| Problem::new(Kind::Internal, "the route stands outside of the server's layers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(text: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", text.parse().expect("a header"));
        traceparent(&headers).map(|trace| trace.trace_id)
    }

    #[test]
    fn a_trace_that_is_none_is_not_continued() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace(&format!("00-{id}-00f067aa0ba902b7-01")).as_deref(), Some(id));
        for wrong in [
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{}-00f067aa0ba902b7-01", id.to_uppercase()),
            format!("00-{id}-00f067aa0ba902b7"),
            "nothing".to_owned(),
        ] {
            assert_eq!(trace(&wrong), None, "{wrong}");
        }
    }
}
