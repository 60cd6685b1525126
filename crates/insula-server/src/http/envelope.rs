//! The outermost layer: gives a request its id, its origin and its time, and writes down what came of it.

use std::{
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use insula_context::RequestId;
use tokio::time::Instant;
use tracing::Instrument;

use super::origin::{Origin, short, traceparent};
use crate::{
    metrics::RateLimited,
    problem::{Kind, Problem},
    service::Service,
    wire::Span,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest `?wait`.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What the query says of how long to wait for a run's end.
pub(crate) fn wait(uri: &Uri) -> Result<Option<Duration>, Problem> {
    let pairs = uri.query().unwrap_or_default().split('&');
    let Some(text) = pairs.filter_map(|pair| pair.strip_prefix("wait=")).next_back() else { return Ok(None) };
    match Span::parse(text) {
        Ok(Span::Of(wait)) => Ok(Some(wait.min(LONGEST_WAIT))),
        _ => Err(Problem::new(Kind::InvalidRequest, "wait is a duration, 30s for example")),
    }
}

/// Stands around every route.
pub(crate) async fn envelope(State(server): State<Service>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let origin = origin(&server, &request);
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let method = request.method().clone();
    let span = tracing::info_span!("http_request", request_id = %origin.request, %method, route);
    if let Some(trace) = &origin.trace {
        server.engine.traces().continue_from(&span, trace);
    }
    request.extensions_mut().insert(origin.clone());
    let mut response = answer(&server, &origin, request, next).instrument(span).await;
    finish(&mut response, &origin.request);
    server.metrics.request(route.as_deref(), method.as_str(), response.status().as_u16(), began.elapsed());
    response
}

/// The response of the route, or why it was not asked. A panic ends its request and nothing else.
async fn answer(server: &Service, origin: &Origin, request: Request, next: Next) -> Response {
    if let Err(problem) = admit(server, origin, request.uri()) {
        return problem.into_response();
    }
    let time = server.settings.request_time + wait(request.uri()).ok().flatten().unwrap_or_default();
    let answered = tokio::time::timeout(time, AssertUnwindSafe(next.run(request)).catch_unwind()).await;
    match answered {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            let words = insula_context::cleanup::panic_message(&*panic);
            tracing::error!(panic = words, "a route panicked");
            Problem::new(Kind::Internal, "the server has failed: its log says more under the request's id")
                .into_response()
        }
        Err(_) => Problem::new(Kind::RequestTimeout, format!("the request took longer than {time:?}")).into_response(),
    }
}

fn admit(server: &Service, origin: &Origin, uri: &Uri) -> Result<(), Problem> {
    let most = server.settings.url_bytes;
    let bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if bytes > most {
        return Err(Problem::new(Kind::UriTooLong, format!("the URL has {bytes} bytes, at most {most} are taken"))
            .with("limit", most));
    }
    match origin.address.map(|address| server.rates.address(address)) {
        Some(Err(limited)) => {
            server.metrics.rate_limited(RateLimited::Address);
            let detail = "too many requests from this address: slow down";
            Err(Problem::new(Kind::RateLimited, detail).after(Some(limited.retry_after)))
        }
        _ => Ok(()),
    }
}

fn origin(server: &Service, request: &Request) -> Origin {
    let headers = request.headers();
    let sent = short(headers, REQUEST_ID.as_str()).and_then(|id| RequestId::new(id).ok());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
    Origin {
        request: sent.unwrap_or_else(|| RequestId::generate(server.engine.ids())),
        correlation: short(headers, "x-correlation-id").map(str::to_owned),
        trace: traceparent(headers),
        address: peer.map(|peer| caller_behind(server, peer, headers)),
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
    }
}

/// The caller's address. What a proxy says is believed where the proxy is ours: the last address that is not.
fn caller_behind(server: &Service, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let is_ours = |address: &IpAddr| server.settings.proxies.iter().any(|net| net.contains(address));
    if !is_ours(&peer) {
        return peer;
    }
    let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
    let hops: Vec<IpAddr> =
        forwarded.flat_map(|value| value.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
    hops.into_iter().rev().find(|hop| !is_ours(hop)).unwrap_or(peer)
}

/// Writes the body of a problem, and the headers that every response has.
fn finish(response: &mut Response, request: &RequestId) {
    let bare = || Kind::of_status(response.status()).map(|kind| Problem::new(kind, kind_words(kind)));
    // `/readyz` says in its own words that the server is not.
    let speaks_for_itself = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let sent = response.extensions().get::<Problem>().cloned();
    let problem = sent.or_else(|| if speaks_for_itself { None } else { bare() });
    if let Some(problem) = problem {
        problem.write(response, request.as_str());
    }
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(request.as_str()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// What a layer meant that has only said a number.
fn kind_words(kind: Kind) -> &'static str {
    match kind {
        Kind::NotFound => "there is no such route: /openapi.json lists them",
        Kind::MethodNotAllowed => "the route takes other methods: Allow lists them",
        Kind::TooLarge => "the body is larger than is taken here",
        _ => "the request was refused",
    }
}
