//! A reader's batches as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::Response,
};
use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::{
    auth::{Principal, Validity},
    feed::{Feed, Next},
    metrics::Open,
    problem::Problem,
    seats::Seat,
    service::Service,
};

/// How often an idle stream says that it is alive, so that what stands in between does not close it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long to wait for a log that does not answer.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long a stream goes on after the server has ended, to tell what was written before.
const LAST_LOOK: Duration = Duration::from_millis(250);

/// Everything that a stream holds; it is given back when the client leaves.
struct Stream {
    server: Service,
    feed: Feed,
    validity: Validity,
    /// Until when it still looks into the log after the server has ended.
    until: Option<Instant>,
    _seat: Seat,
    _open: Open,
}

/// The response that goes on until the run has ended, the credential is not worth anything any more, the server goes down, or
/// the client leaves.
pub(crate) fn response(server: &Service, principal: &Principal, feed: Feed) -> Result<Response, Problem> {
    let stream = Stream {
        feed,
        validity: server.auth.watch(principal),
        until: None,
        _seat: server.seats.take(&principal.scope)?,
        _open: server.metrics.stream_opened(),
        server: server.clone(),
    };
    // So that the headers are sent at once.
    let hello = stream::iter([Bytes::from_static(b": insula\n\n")]);
    let chunks = stream::unfold(stream, |mut stream| async move { stream.next().await.map(|chunk| (chunk, stream)) });
    let mut response = Response::new(Body::from_stream(hello.chain(chunks).map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // For proxies that would wait for more.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

impl Stream {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            tokio::select! {
                biased;
                () = self.server.closing.cancelled() => return self.last().await,
                () = self.validity.over() => return None,
                read = self.feed.next() => match read {
                    Ok(batch) => return batch.map(|batch| self.encode(&batch)),
                    Err(error) => {
                        tracing::warn!(%error, "a stream waits for the log");
                        tokio::time::sleep(ASK_AGAIN).await;
                    }
                },
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(Bytes::from_static(b": alive\n\n")),
            }
        }
    }
}

impl Stream {
    /// What was written before the server ended is told before the stream does, as far as it is at hand.
    async fn last(&mut self) -> Option<Bytes> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + LAST_LOOK);
        let read = tokio::time::timeout_at(until, self.feed.next()).await;
        read.ok()?.ok()?.map(|batch| self.encode(&batch))
    }

    fn encode(&self, batch: &[Next]) -> Bytes {
        for next in batch {
            if let Next::Gap(gap) = next {
                self.server.metrics.gap(gap.reason.into());
            }
        }
        encoded(batch)
    }
}

fn encoded(batch: &[Next]) -> Bytes {
    let mut text = String::with_capacity(batch.len() * 512);
    for next in batch {
        match next {
            Next::Event(event) => {
                text.push_str("id: ");
                text.push_str(&event.seq.to_string());
                block(&mut text, event.kind.as_str(), &serde_json::to_string(event).unwrap_or_default());
            }
            // Without an id: whoever comes back begins before the gap and is told of it again.
            Next::Gap(gap) => block(&mut text, "gap", &serde_json::to_string(gap).unwrap_or_default()),
        }
    }
    text.into()
}

/// The rest of a block. Line ends within JSON text are white space, and come back as such.
fn block(text: &mut String, kind: &str, data: &str) {
    if text.ends_with(|last: char| last.is_ascii_digit()) {
        text.push('\n');
    }
    text.push_str("event: ");
    text.push_str(kind);
    for line in data.lines() {
        text.push_str("\ndata: ");
        text.push_str(line);
    }
    text.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_within_the_data_do_not_end_the_block() {
        let mut text = "id: 7".to_owned();
        block(&mut text, "custom", "{\"a\":\n1}");
        assert_eq!(text, "id: 7\nevent: custom\ndata: {\"a\":\ndata: 1}\n\n");
    }
}
