//! What goes wrong, as `application/problem+json` (RFC 9457) with stable types.
//!
//! A [`Problem`] travels as an extension of its response; the outermost layer writes the body, because it alone knows the id
//! of the request.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use insula_engine::{Error as EngineError, FactoryError};
use insula_infra::Error as StoreError;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What every type begins with.
const PREFIX: &str = "urn:insula:problem:";

/// The classes of problems. Their words and numbers are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is not what the route takes.
    InvalidRequest,
    /// Nobody knows who is asking.
    Unauthenticated,
    /// Who is asking may not.
    Forbidden,
    /// There is no such thing for this user.
    NotFound,
    /// The route takes other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// It contradicts what is there.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The URL is too long.
    UriTooLong,
    /// The body is of another type.
    UnsupportedMediaType,
    /// A value does not fit its schema.
    InvalidInput,
    /// The user has as much as is allowed.
    Limit,
    /// Too many requests.
    RateLimited,
    /// The headers are too large.
    HeadersTooLarge,
    /// A fault of the server.
    Internal,
    /// Something does not answer, or is not configured.
    Unavailable,
    /// The server is going down.
    ShuttingDown,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 17] = [
        Self::InvalidRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::TooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::InvalidInput,
        Self::Limit,
        Self::RateLimited,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::Unavailable,
        Self::ShuttingDown,
    ];

    /// Name, status and title.
    const fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::InvalidRequest => ("invalid-request", 400, "the request is not valid"),
            Self::Unauthenticated => ("unauthenticated", 401, "a valid credential is needed"),
            Self::Forbidden => ("forbidden", 403, "the credential does not allow this"),
            Self::NotFound => ("not-found", 404, "there is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "the route takes other methods"),
            Self::RequestTimeout => ("request-timeout", 408, "the request took too long"),
            Self::Conflict => ("conflict", 409, "it contradicts what is there"),
            Self::TooLarge => ("too-large", 413, "the body is too large"),
            Self::UriTooLong => ("uri-too-long", 414, "the URL is too long"),
            Self::UnsupportedMediaType => ("unsupported-media-type", 415, "the body is of a type that is not taken"),
            Self::InvalidInput => ("invalid-input", 422, "a value does not fit"),
            Self::Limit => ("limit", 429, "as much as is allowed is there already"),
            Self::RateLimited => ("rate-limited", 429, "too many requests"),
            Self::HeadersTooLarge => ("headers-too-large", 431, "the headers are too large"),
            Self::Internal => ("internal", 500, "the server has failed"),
            Self::Unavailable => ("unavailable", 503, "something that is needed does not answer"),
            Self::ShuttingDown => ("shutting-down", 503, "the server is going down"),
        }
    }

    /// The last part of its type.
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Its status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What a bare status stands for, of a layer that does not speak in problems.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let wanted = |kind: &Self| kind.status() == status;
        match status.as_u16() {
            100..400 => None,
            other => Self::ALL.into_iter().find(wanted).or(Some(if other < 500 {
                Self::InvalidRequest
            } else {
                Self::Internal
            })),
        }
    }
}

/// Something went wrong, and what to do.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Its class.
    pub kind: Kind,
    /// What happened, and what to do, in words for the caller.
    pub detail: String,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// What else helps.
    pub more: Map<String, Value>,
}

/// The body of a problem, for the description of the API.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// `urn:insula:problem:NAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The class in words.
    pub title: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// What happened, and what to do.
    pub detail: String,
    /// The request, as the server's log names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What else helps.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// A problem of this class.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), retry_after: None, more: Map::new() }
    }

    /// There is no such thing for this user, whether there is one of others or not.
    pub fn absent(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no such {what}"))
    }

    /// Adds what else helps.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }

    /// Whole seconds, at least one: what `Retry-After` takes.
    fn seconds(wait: Duration) -> u64 {
        wait.as_secs() + u64::from(wait.subsec_nanos() > 0 || wait.is_zero())
    }

    /// The body, for a request of this id.
    pub(crate) fn body(self, request_id: Option<String>) -> ProblemBody {
        let (name, status, title) = self.kind.row();
        let mut more = self.more;
        if let Some(wait) = self.retry_after {
            more.insert("retry_after".to_owned(), json!(Self::seconds(wait)));
        }
        ProblemBody { kind: format!("{PREFIX}{name}"), title, status, detail: self.detail, request_id, more }
    }

    /// The whole response. What was in `response` of headers stays.
    pub(crate) fn write(self, response: &mut Response, request_id: &str) {
        let retry_after = self.retry_after.map(Self::seconds);
        let (status, kind) = (self.kind.status(), self.kind);
        let body = serde_json::to_vec(&self.body(Some(request_id.to_owned()))).unwrap_or_default();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        *response.status_mut() = status;
        *response.body_mut() = Body::from(body);
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// What a refused id looks like to whoever sent it.
impl From<insula_context::Error> for Problem {
    fn from(error: insula_context::Error) -> Self {
        Self::new(Kind::InvalidRequest, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::RunExists { .. }
            | StoreError::KeyExists { .. }
            | StoreError::ThreadBusy { .. }
            | StoreError::ThreadExists { .. }
            | StoreError::ThreadForked { .. }
            | StoreError::RunEnded { .. }
            | StoreError::CancelledAhead { .. } => Kind::Conflict,
            StoreError::InvalidCursor { .. } => Kind::InvalidRequest,
            StoreError::TooLarge { .. } => Kind::TooLarge,
            StoreError::QueueFull { .. } => Kind::Limit,
            StoreError::Unavailable { .. } | StoreError::Timeout { .. } | StoreError::DiskFull { .. } => {
                return Self::unavailable(&error);
            }
            _ => return Self::internal(&error),
        };
        Self::new(kind, error.to_string())
    }
}

impl From<insula_registry::Error> for Problem {
    fn from(error: insula_registry::Error) -> Self {
        match error {
            insula_registry::Error::UnknownClass { .. } => Self::new(Kind::NotFound, error.to_string()),
            insula_registry::Error::Input { ref violations, .. } => {
                let violations = json!(violations);
                Self::new(Kind::InvalidInput, error.to_string()).with("violations", violations)
            }
            error => Self::new(Kind::InvalidRequest, error.to_string()),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let words = error.to_string();
        match error {
            EngineError::Context(error) => error.into(),
            EngineError::Storage(error) => error.into(),
            EngineError::Input(error) | EngineError::Factory(FactoryError::Class(error)) => error.into(),
            EngineError::Factory(FactoryError::Unavailable { .. }) => Self::new(Kind::Unavailable, words),
            EngineError::Limit { what, limit, retry_after, advice, .. } => {
                let detail = format!("{limit} {what} are there already, and no more are allowed: {advice}");
                Self::new(Kind::Limit, detail).with("what", what).with("limit", limit).after(retry_after)
            }
            EngineError::ThreadBusy { .. } | EngineError::NotEnded { .. } | EngineError::EngineExists { .. } => {
                Self::new(Kind::Conflict, words)
            }
            EngineError::Schedule { .. } | EngineError::Archive { .. } => {
                Self::new(Kind::InvalidInput, words.clone()).with("violations", json!([words]))
            }
            EngineError::Answer { violations } => {
                Self::new(Kind::InvalidInput, words).with("violations", json!(violations))
            }
            EngineError::NotKept { .. } => Self::new(Kind::Conflict, words),
            EngineError::ShutDown => Self::shutting_down(),
            EngineError::Unavailable { .. } => Self::new(Kind::Unavailable, words),
            error => Self::internal(&error),
        }
    }
}

impl Problem {
    /// The server takes nothing new.
    pub(crate) fn shutting_down() -> Self {
        Self::new(Kind::ShuttingDown, "the server is going down: come back in a moment").after(Some(COME_BACK))
    }

    /// Storage does not answer. Its words are the operator's: they name files and hosts.
    fn unavailable(error: &StoreError) -> Self {
        tracing::warn!(error = error as &dyn std::error::Error, "storage does not answer");
        Self::new(Kind::Unavailable, "storage does not answer: try again").after(Some(COME_BACK))
    }

    /// A fault. The cause is the operator's and goes into the log, under the id of the request.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(Kind::Internal, "the server has failed: its log says more under the request's id")
    }
}

/// When to come back after something that passes by itself.
const COME_BACK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_status_becomes_the_problem_of_its_number() {
        let of = |status| Kind::of_status(StatusCode::from_u16(status).expect("a status"));
        assert_eq!((of(101), of(200)), (None, None));
        for kind in [Kind::TooLarge, Kind::RequestTimeout, Kind::MethodNotAllowed, Kind::NotFound] {
            assert_eq!(of(kind.status().as_u16()), Some(kind));
        }
        assert_eq!((of(418), of(502)), (Some(Kind::InvalidRequest), Some(Kind::Internal)));
    }

    #[test]
    fn what_only_the_operator_may_know_is_not_in_the_body() {
        let source = std::sync::Arc::new(std::io::Error::other("secret.db is gone"));
        let error = StoreError::Unavailable { operation: "append", component: "secret.db", source: Some(source) };
        let body = serde_json::to_string(&Problem::from(error).body(None)).expect("it serializes");
        assert!(body.contains("urn:insula:problem:unavailable") && !body.contains("secret.db"), "{body}");
    }

    #[test]
    fn to_come_back_at_once_is_to_come_back_in_a_second() {
        assert_eq!(Problem::seconds(Duration::ZERO), 1);
        assert_eq!(Problem::seconds(Duration::from_millis(1_500)), 2);
        assert_eq!(Problem::seconds(Duration::from_secs(3)), 3);
    }
}
