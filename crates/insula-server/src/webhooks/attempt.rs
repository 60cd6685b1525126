//! One attempt: what is sent, and what is made of the answer.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use insula_context::{Clock, UserScope};
use insula_infra::{PayloadHash, RunRecord};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect,
};
use serde::Serialize;

use super::{
    Target, WebhookRules,
    retries::Failed,
    rules::{Forbidden, Resolver},
    signature::sign,
};

const CONNECT: Duration = Duration::from_secs(5);
/// From looking up the name to the end of the answer.
const WHOLE: Duration = Duration::from_secs(15);
/// How much of a refusal is read at most, and how much of that is kept, in bytes and in characters.
const READ: usize = 4 * 1024;
const KEPT: usize = 200;

/// Makes calls. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Made when the first call is: it reads the machine's root certificates, which costs time and memory.
    client: OnceLock<Client>,
    rules: Arc<WebhookRules>,
    clock: Arc<dyn Clock>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    delivery_id: &'a str,
    run: &'a RunRecord,
}

impl Caller {
    pub(super) fn new(rules: WebhookRules, clock: Arc<dyn Clock>) -> Self {
        Self { client: OnceLock::new(), rules: Arc::new(rules), clock }
    }

    fn client(&self) -> Result<&Client, Failed> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .user_agent(concat!("insula/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .redirect(redirect::Policy::none())
            // A proxy would look up names by itself.
            .no_proxy()
            // Every connection is made to an address that was looked at for it.
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(Resolver(Arc::clone(&self.rules))))
            .build()
            .map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "calls cannot be made: something is wrong with TLS here"
                );
                failed("calls cannot be made from here")
            })?;
        // Whoever was quicker has made the same one.
        Ok(self.client.get_or_init(|| client))
    }

    /// Tells of a run's end. Taken, or why not.
    pub(super) async fn call(&self, target: &Target, run: &RunRecord) -> Result<(), Failed> {
        let url = Url::parse(target.url()).map_err(|_| failed("the stored URL cannot be read"))?;
        if let Some(objection) = self.rules.objection(&url) {
            return Err(failed(&format!("the URL {objection}")));
        }
        let delivery_id = delivery_id(&run.header.scope, run.header.run.as_str());
        let body = Body { r#type: "run.ended", delivery_id: &delivery_id, run };
        let body = serde_json::to_vec(&body).map_err(|_| failed("the run has no JSON form"))?;
        let timestamp = (self.clock.now().as_micros() / 1_000_000).to_string();
        let request = self
            .client()?
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("Insula-Delivery", &delivery_id)
            .header("Insula-Signature", sign(target.secret(), &timestamp, &body))
            .header("Insula-Timestamp", timestamp)
            .body(body);
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(refused(response).await),
            Err(error) => Err(failed(&words(&error))),
        }
    }
}

/// The same for every attempt of a call, and another for every other: run ids are the users' own.
fn delivery_id(scope: &UserScope, run: &str) -> String {
    let place = serde_json::json!(["webhook", scope.tenant(), scope.user(), run]).to_string();
    PayloadHash::of(place.as_bytes()).to_string()[..32].to_owned()
}

fn failed(error: &str) -> Failed {
    Failed { error: error.to_owned(), retry_after: None }
}

/// An answer that is not `2xx`.
async fn refused(response: Response) -> Failed {
    let status = response.status();
    let asks = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    let retry_after = asks.then(|| retry_after(response.headers())).flatten();
    let error = if status.is_redirection() {
        format!("it answered {}, and redirects are not followed", status.as_u16())
    } else {
        match beginning(response).await {
            said if said.is_empty() => format!("it answered {}", status.as_u16()),
            said => format!("it answered {}: {said}", status.as_u16()),
        }
    };
    Failed { error, retry_after }
}

/// In seconds. A date would have to be held against another's clock, and is passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// The beginning of what was said, on one line.
async fn beginning(mut response: Response) -> String {
    let mut read = Vec::new();
    while read.len() < READ
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read.extend_from_slice(&chunk[..chunk.len().min(READ - read.len())]);
    }
    let text = String::from_utf8_lossy(&read);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(KEPT).collect()
}

/// What went wrong before there was an answer. The URL is left out: it may hold a secret.
fn words(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    if let Some(forbidden) = causes.clone().find_map(|cause| cause.downcast_ref::<Forbidden>()) {
        return forbidden.to_string();
    }
    match (error.is_timeout(), causes.last()) {
        (true, _) => format!("it did not answer within {} seconds", WHOLE.as_secs()),
        (false, Some(cause)) if error.is_connect() => format!("no connection: {cause}").chars().take(KEPT).collect(),
        _ => "the connection ended before there was an answer".to_owned(),
    }
}
