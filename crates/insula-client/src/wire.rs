//! Waiting, repeating, and refusals.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use reqwest::{
    Request, Response,
    header::{CONTENT_TYPE, HeaderName, RETRY_AFTER},
};

use crate::{Client, Error, Problem, sse::LONGEST};

/// How long is waited for what, and how often something is tried.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connection: 10 s.
    pub connect: Duration,
    /// For an answer, and for each further part of it: 90 s.
    pub answer: Duration,
    /// For a stream's next sign of life, of which the server sends one every 15 s: 45 s.
    pub silence: Duration,
    /// How often a request that may be repeated is made at most: 4.
    pub attempts: usize,
    /// How often in a row a stream is opened before a sign of life comes of it: 10.
    pub openings: usize,
    /// The first pause before trying again; each is twice as long as the one before: 250 ms.
    pub pause: Duration,
    /// The longest pause. Whoever asks for a longer one is not asked again: 10 s.
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (seconds, pause) = (Duration::from_secs, Duration::from_millis(250));
        let (connect, answer, silence, longest_pause) = (seconds(10), seconds(90), seconds(45), seconds(10));
        Self { connect, answer, silence, attempts: 4, openings: 10, pause, longest_pause }
    }
}

impl Patience {
    fn pauses(&self, attempts: usize) -> ExponentialBuilder {
        let (first, longest) = (self.pause, self.longest_pause);
        let pauses = ExponentialBuilder::default().with_min_delay(first).with_max_delay(longest).with_jitter();
        pauses.with_max_times(attempts.saturating_sub(1))
    }

    /// The pause before a stream is opened for the nth time in a row, from 2 on.
    pub(crate) fn before_opening(&self, nth: usize) -> Duration {
        let mut pauses = self.pauses(self.openings.max(nth)).build();
        pauses.nth(nth.saturating_sub(2)).unwrap_or(self.longest_pause)
    }

    /// The pause before another attempt: at least what the server asks for, and none at all if that is too long.
    fn asked_for(&self, error: &Error, planned: Option<Duration>) -> Option<Duration> {
        let asked = error.problem().and_then(|problem| problem.retry_after).unwrap_or_default();
        planned.filter(|_| asked <= self.longest_pause).map(|planned| planned.max(asked))
    }
}

impl Client {
    /// Makes a request that a second one of the same kind would change nothing of, again when it fails on the way.
    pub(crate) async fn repeat(&self, request: &Request) -> Result<Response, Error> {
        let attempt = async || match request.try_clone() {
            Some(again) => self.once(again).await,
            None => Err(Error::TooLarge { limit: 0 }),
        };
        let retry = attempt.retry(self.patience.pauses(self.patience.attempts)).when(Error::is_transient);
        retry.adjust(|error, planned| self.patience.asked_for(error, planned)).await
    }

    /// Makes a request once.
    pub(crate) async fn once(&self, request: Request) -> Result<Response, Error> {
        let response = self.execute(request).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(response).await) }
    }

    /// Makes a request once; whatever is answered is an answer.
    pub(crate) async fn execute(&self, request: Request) -> Result<Response, Error> {
        self.http.execute(request).await.map_err(|source| self.unreachable(source))
    }

    pub(crate) async fn text(&self, mut response: Response) -> Result<String, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|source| self.unreachable(source))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > LONGEST {
                return Err(Error::TooLarge { limit: LONGEST });
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status().as_u16();
        let retry_after = header(&response, RETRY_AFTER).and_then(|after| after.trim().parse().ok());
        // Nobody else's words are repeated: they may be a page.
        if header(&response, CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/problem+json"))
            && let Ok(text) = self.text(response).await
            && let Ok(problem) = serde_json::from_str::<Problem>(&text)
        {
            let retry_after = retry_after.map(Duration::from_secs);
            return Error::Problem(Box::new(Problem { status, retry_after, ..problem }));
        }
        Error::Strange { server: self.server().to_owned(), status }
    }

    pub(crate) fn unreachable(&self, source: reqwest::Error) -> Error {
        Error::Unreachable { server: self.server().to_owned(), source: source.without_url() }
    }
}

pub(crate) fn header(response: &Response, name: HeaderName) -> Option<&str> {
    response.headers().get(name)?.to_str().ok()
}
