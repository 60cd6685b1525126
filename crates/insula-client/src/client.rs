//! Who is spoken to, and what can be asked.

use std::{fmt, net::IpAddr, sync::Arc};

use reqwest::{
    Method, Request, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::{Error, Json, Lines, Page, Patience, sse::Splitter, wire::header};

/// How many entries a server gives at once.
const PAGE: usize = 1_000;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the caller is let in with: an API key, or a token of an issuer that the server trusts. It shows itself to nobody.
#[derive(Clone)]
pub struct Key(Arc<str>);

impl Key {
    /// The key as it was given out. White space around it, as a file has it, is none of it.
    pub fn new(key: impl AsRef<str>) -> Self {
        Self(Arc::from(key.as_ref().trim()))
    }

    fn header(&self) -> Result<HeaderValue, Error> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.0)).map_err(|_| Error::Key)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(hidden)")
    }
}

/// How a server is.
#[derive(Debug)]
pub struct Ready {
    /// Whether it takes requests.
    pub is_ready: bool,
    /// What it says of its parts.
    pub says: Json,
    /// Its time, as HTTP writes it.
    pub date: Option<String>,
}

/// A client of one server, for the owner of one key. A clone uses the same connections.
///
/// A path is given in parts from `/v1` on, each of which may be any id: `&["runs", id]`.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    base: Url,
    pub(crate) patience: Patience,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("server", &self.server()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client. It connects with the first request.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::InTheClear`] for `http` to another machine, [`Error::Key`].
    pub fn new(address: &str, key: &Key) -> Result<Self, Error> {
        Self::with_patience(address, key, Patience::default())
    }

    /// As [`Client::new`], with another patience.
    ///
    /// # Errors
    /// As there.
    pub fn with_patience(address: &str, key: &Key, patience: Patience) -> Result<Self, Error> {
        let base = base(address)?;
        let builder = reqwest::Client::builder()
            .user_agent(concat!("insula-client/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, key.header()?)]))
            .connect_timeout(patience.connect)
            .read_timeout(patience.answer)
            // The key is for this server, and for no other that it may name.
            .redirect(Policy::none());
        // What goes to this machine does not go to a proxy, which would see the key.
        let builder = if base.scheme() == "http" { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|source| Error::Unreachable { server: base.to_string(), source })?;
        Ok(Self { http, base, patience })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Asks for something.
    ///
    /// # Errors
    /// Those of [`Error`]; what the server says is [`Error::Problem`].
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Json, Error> {
        let response = self.repeat(&self.request(Method::GET, path, query)?).await?;
        Json::parse(&self.text(response).await?)
    }

    /// The first `most` entries of a list, however many requests they take.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn list(&self, path: &[&str], query: &[(&str, &str)], most: usize) -> Result<Page, Error> {
        let mut all = Page::default();
        loop {
            let limit = (most - all.items.len()).min(PAGE).to_string();
            let mut query = [query, &[("limit", &limit)]].concat();
            query.extend(all.next.as_deref().map(|next| ("cursor", next)));
            let page: Page = self.get(path, &query).await?.read()?;
            let had = all.items.len();
            all.items.extend(page.items);
            all.next = page.next;
            if all.next.is_none() || all.items.len() == had || all.items.len() >= most {
                return Ok(all);
            }
        }
    }

    /// Asks for something that comes line by line.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn lines(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Lines, Error> {
        let response = Some(self.repeat(&self.request(Method::GET, path, query)?).await?);
        Ok(Lines { client: self.clone(), response, lines: Splitter::default() })
    }

    /// Has something done: `POST`, `PUT` or `DELETE`. Made once, because a second time may do more. `null` where nothing is
    /// answered.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Json, Error> {
        let request = self.sending(method, path, query, body.map(Json::text))?;
        self.asked(self.once(request).await?).await
    }

    /// Hands a run to the queue. Sent again when it is not known whether it arrived: the key, a fresh one unless it is
    /// given, makes one run of it.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn submit(&self, run: &impl Serialize, key: Option<&str>) -> Result<Json, Error> {
        let key = key.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        let mut request = self.sending(Method::POST, &["runs"], &[], Some(Json::of(run)?.text()))?;
        let key = HeaderValue::from_bytes(key.as_bytes()).map_err(|_| Error::Id { id: key })?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        self.asked(self.repeat(&request).await?).await
    }

    /// Asks to stop a run. Sent again when it is not known whether it arrived: the first wish is kept.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn cancel(&self, run: &str, reason: &str) -> Result<Json, Error> {
        let body = Json::of(&json!({"reason": reason}))?;
        let request = self.sending(Method::POST, &["runs", run, "cancel"], &[], Some(body.text()))?;
        self.asked(self.repeat(&request).await?).await
    }

    /// Takes a file of runs in: JSON lines.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn import(&self, file: Vec<u8>, query: &[(&str, &str)]) -> Result<Json, Error> {
        let mut request = self.request(Method::POST, &["runs", "import"], query)?;
        *request.body_mut() = Some(file.into());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        self.asked(self.once(request).await?).await
    }

    /// How the server is. Asked once; one that is not ready has answered as well.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn ready(&self) -> Result<Ready, Error> {
        let mut request = self.request(Method::GET, &[], &[])?;
        request.url_mut().set_path(&format!("{}/readyz", self.base.path().trim_end_matches('/')));
        let response = self.execute(request).await?;
        let (status, date) = (response.status(), header(&response, DATE).map(str::to_owned));
        let says = Json::parse(&self.text(response).await?);
        let strange = |_| Error::Strange { server: self.server().to_owned(), status: status.as_u16() };
        Ok(Ready { is_ready: status.is_success(), says: says.map_err(strange)?, date })
    }

    async fn asked(&self, response: reqwest::Response) -> Result<Json, Error> {
        let text = self.text(response).await?;
        Json::parse(if text.is_empty() { "null" } else { &text })
    }

    pub(crate) fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<Request, Error> {
        // These would name the place above, or the place itself.
        if let Some(id) = path.iter().find(|part| matches!(**part, "." | ".." | "")) {
            return Err(Error::Id { id: (*id).to_owned() });
        }
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(Request::new(method, url))
    }

    fn sending(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&str>,
    ) -> Result<Request, Error> {
        let mut request = self.request(method, path, query)?;
        if let Some(body) = body {
            *request.body_mut() = Some(body.to_owned().into());
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }
}

/// Where the server is, without anything that does not belong there.
fn base(address: &str) -> Result<Url, Error> {
    let refused = |problem| Error::Address { address: address.to_owned(), problem };
    let url = Url::parse(address).map_err(|_| refused("write it as https://HOST or http://127.0.0.1:PORT"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // Not repeated, because it may be a secret.
        let address = url.host_str().unwrap_or_default().to_owned();
        return Err(Error::Address { address, problem: "a name and a password do not belong there" });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it ends where the path ends"));
    }
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(host)) if is_here(host) => Ok(url),
        ("http", Some(host)) => Err(Error::InTheClear { host: host.to_owned() }),
        _ => Err(refused("only https is spoken, and http to this machine")),
    }
}

fn is_here(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}
