//! A JWK set at a URL: fetched when it is needed, kept when its server is away.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use insula_context::{Clock, Timestamp};
use jsonwebtoken::{Header, Validation};
use reqwest::{Client, StatusCode, Url, redirect::Policy};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::error::{Error, Refused},
    key::KeySet,
};

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How large a set may be.
const MAX_BYTES: usize = 256 * 1024;

/// Between two attempts, while there are keys: a token with a `kid` that is not known does not buy more.
const BETWEEN: Duration = Duration::from_secs(60);

/// Between two attempts, while there are none.
const BETWEEN_WITHOUT: Duration = Duration::from_secs(5);

/// A set this old is fetched again at the next occasion, so that keys which its issuer took back do not live on here.
const OLD: Duration = Duration::from_secs(60 * 60);

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it could not be read")]
    Request(#[from] reqwest::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("it did not answer within {PATIENCE:?}")]
    TooSlow,
    #[error("it cannot be used")]
    Unusable(#[source] Error),
}

/// What is known of the set.
#[derive(Debug, Clone, Default)]
struct State {
    keys: Arc<KeySet>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
    is_under_way: bool,
    failure: Option<Arc<FetchError>>,
}

impl State {
    fn may_try(&self, now: Timestamp) -> bool {
        let between = if self.fetched_at.is_some() { BETWEEN } else { BETWEEN_WITHOUT };
        !self.is_under_way && self.tried_at.is_none_or(|at| now.since(at) >= between)
    }

    fn is_old(&self, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| now.since(at) >= OLD)
    }
}

/// A set at a URL.
pub(super) struct Remote {
    url: Url,
    client: Client,
    validation: Validation,
    clock: Arc<dyn Clock>,
    state: watch::Sender<State>,
    fetch: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl Remote {
    pub(super) fn new(url: &str, validation: Validation, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Error> {
        let url = checked(url)?;
        let client = client(&url).map_err(|error| unusable(format!("no connection can be made: {error}")))?;
        let state = watch::Sender::new(State::default());
        Ok(Arc::new(Self { url, client, validation, clock, state, fetch: Mutex::default() }))
    }

    /// The set, fetched anew if none of its keys fits and that was not tried a moment ago.
    pub(super) async fn keys_for(self: &Arc<Self>, header: &Header) -> Result<Arc<KeySet>, Refused> {
        let now = self.clock.now();
        let state = self.state.borrow().clone();
        if state.keys.for_header(header).next().is_some() {
            if state.is_old(now) {
                self.begin(now);
            }
            return Ok(state.keys);
        }
        self.begin(now);
        let state = self.settled().await;
        match &state.failure {
            // Whether a key that is not known is good cannot be said by whoever could not ask.
            Some(failure) if state.keys.for_header(header).next().is_none() => Err(unavailable(failure)),
            _ => Ok(state.keys),
        }
    }

    /// Begins to fetch, unless somebody has, or it is too early. In a task, so that a caller who leaves does not end it.
    fn begin(self: &Arc<Self>, now: Timestamp) {
        let may_try = self.state.send_if_modified(|state| {
            let may_try = state.may_try(now);
            if may_try {
                (state.is_under_way, state.tried_at) = (true, Some(now));
            }
            may_try
        });
        if may_try {
            let attempt = Attempt { remote: Arc::downgrade(self) };
            let (client, url) = (self.client.clone(), self.url.clone());
            let fetch = tokio::spawn(async move { attempt.ended(fetch(&client, url).await) });
            *self.fetch.lock().unwrap_or_else(PoisonError::into_inner) = Some(AbortOnDropHandle::new(fetch));
        }
    }

    async fn settled(&self) -> State {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !state.is_under_way).await;
        settled.map(|state| state.clone()).unwrap_or_default()
    }

    fn take(&self, fetched: Result<Vec<u8>, FetchError>) {
        let keys = fetched.and_then(|json| KeySet::of_jwks(&json, &self.validation).map_err(FetchError::Unusable));
        if let Err(error) = &keys {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the issuer's set of keys was not fetched; the one before stays in use");
        }
        let now = self.clock.now();
        self.state.send_modify(|state| match keys {
            Ok(keys) => (state.keys, state.fetched_at, state.failure) = (Arc::new(keys), Some(now), None),
            Err(error) => state.failure = Some(Arc::new(error)),
        });
    }
}

/// An attempt that is under way. However it ends, those who wait for it go on.
struct Attempt {
    remote: Weak<Remote>,
}

impl Attempt {
    fn ended(self, fetched: Result<Vec<u8>, FetchError>) {
        if let Some(remote) = self.remote.upgrade() {
            remote.take(fetched);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(remote) = self.remote.upgrade() {
            remote.state.send_modify(|state| state.is_under_way = false);
        }
    }
}

async fn fetch(client: &Client, url: Url) -> Result<Vec<u8>, FetchError> {
    tokio::time::timeout(PATIENCE, read(client, url)).await.unwrap_or(Err(FetchError::TooSlow))
}

async fn read(client: &Client, url: Url) -> Result<Vec<u8>, FetchError> {
    let mut response = client.get(url).send().await.map_err(reqwest::Error::without_url)?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_BYTES {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `https`, or `http` where nobody can listen in between. Nothing secret in it, because it is written into logs.
fn checked(url: &str) -> Result<Url, Error> {
    let url = Url::parse(url).map_err(|error| unusable(format!("the URL of the JWK set is none: {error}")))?;
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_this_machine(&url));
    if !is_safe {
        return Err(unusable("the URL of a JWK set begins with https".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(unusable("the URL of a JWK set has no password in it".to_owned()));
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A client that goes where it is told, and nowhere else.
fn client(url: &Url) -> Result<Client, reqwest::Error> {
    let builder = Client::builder().redirect(Policy::none()).timeout(PATIENCE).pool_max_idle_per_host(0);
    if url.scheme() == "https" {
        return builder.https_only(true).build();
    }
    // Without TLS no certificates are needed, which a small image may not have.
    builder.no_proxy().tls_certs_only([]).build()
}

fn unusable(problem: String) -> Error {
    Error::TokenKey { problem }
}

fn unavailable(failure: &Arc<FetchError>) -> Refused {
    Refused::Unavailable(insula_infra::Error::Unavailable {
        operation: "checking a token",
        component: "the issuer's set of keys",
        source: Some(Arc::clone(failure) as _),
    })
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
