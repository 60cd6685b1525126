//! A client over HTTP. Whatever it is answered is held against what every answer must have.

use std::net::SocketAddr;

use reqwest::{
    Client, Method, RequestBuilder, Response,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;

use super::sse::Sse;

/// Somebody who asks.
#[derive(Clone)]
pub(super) struct Caller {
    web: Client,
    base: String,
    bearer: Option<String>,
    headers: HeaderMap,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Caller {
    pub(super) fn new(address: SocketAddr, bearer: Option<String>) -> Self {
        Self::at(&format!("http://{address}"), bearer)
    }

    pub(super) fn at(base: &str, bearer: Option<String>) -> Self {
        let web = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { web, base: base.to_owned(), bearer, headers: HeaderMap::new() }
    }

    pub(super) fn bearer(&self) -> &str {
        self.bearer.as_deref().unwrap_or_default()
    }

    /// The same caller, who sends this header as well.
    pub(super) fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.clone();
        other.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        other
    }

    pub(super) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().unwrap();
        let request = self.web.request(method, format!("{}{path}", self.base)).headers(self.headers.clone());
        match &self.bearer {
            Some(bearer) => request.bearer_auth(bearer),
            None => request,
        }
    }

    /// Asks, with a JSON body or without one.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        Answer::of(request.send().await.unwrap()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(&body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, None).await
    }

    /// Submits a run and waits for its end.
    pub(super) async fn ended(&self, order: Value) -> Value {
        self.post("/v1/runs?wait=60s", order).await.is(200)
    }

    /// Submits a run and answers with its id.
    pub(super) async fn submitted(&self, order: Value) -> String {
        self.post("/v1/runs", order).await.is(202)["run_id"].as_str().unwrap().to_owned()
    }

    /// A stream of server-sent events, from the beginning or behind the event of this id.
    pub(super) async fn stream(&self, path: &str, last: Option<u64>) -> Sse {
        let request = self.request("GET", path).header("accept", "text/event-stream");
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        Sse::new(request.send().await.unwrap())
    }
}

impl Answer {
    pub(super) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let is_readiness = response.url().path() == "/readyz";
        let text = response.text().await.unwrap();
        let answer = Self { status, headers, text };
        let id = answer.header("x-request-id");
        assert!(!id.is_empty(), "an answer without its request's id: {answer:?}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer:?}");
        if status >= 400 && !is_readiness && !answer.text.is_empty() {
            answer.is_a_problem();
        }
        answer
    }

    /// What every refusal looks like.
    fn is_a_problem(&self) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status, "{self:?}");
        assert_eq!(body["request_id"], self.header("x-request-id"), "{self:?}");
        assert!(body["type"].as_str().unwrap().starts_with("urn:insula:problem:"), "{self:?}");
        let words = |field: &str| body[field].as_str().is_some_and(|words| !words.is_empty());
        assert!(words("title") && words("detail"), "{self:?}");
        for leak in ["panicked", ".rs:", "Error {", "Some(", "/tmp/", "insula.db"] {
            assert!(!self.text.contains(leak), "{leak:?} in {}", self.text);
        }
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer with this status; `null` when there is none.
    pub(super) fn is(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The body of a refusal of this status and name.
    pub(super) fn refuses(&self, status: u16, name: &str) -> Value {
        let body = self.is(status);
        assert_eq!(body["type"], format!("urn:insula:problem:{name}"), "{self:?}");
        body
    }
}
