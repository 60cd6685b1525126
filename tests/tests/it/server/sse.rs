//! A client that reads server-sent events, block by block.

use std::time::Duration;

use reqwest::Response;

use super::told::Told;

/// Nothing of these suites takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A stream that is being read.
pub(super) struct Sse {
    response: Response,
    rest: Vec<u8>,
}

/// A block of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) id: Option<u64>,
    pub(super) event: String,
    pub(super) data: String,
}

impl Sse {
    pub(super) fn new(response: Response) -> Self {
        Self { response, rest: Vec::new() }
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The next block; `None` when the stream has ended, or broke off.
    pub(super) async fn next(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = self.rest.drain(..end + 2).collect();
                match read(std::str::from_utf8(&block).unwrap()) {
                    Some(block) => return Some(block),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("something comes");
            match chunk {
                Ok(Some(chunk)) => self.rest.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next event; `None` as above.
    pub(super) async fn told(&mut self) -> Option<Told> {
        let block = self.next().await?;
        let told = Told::read(&block.data);
        assert_eq!((block.id, &block.event), (Some(told.seq), &told.kind), "the block says what the event says");
        Some(told)
    }

    /// Everything to the end.
    pub(super) async fn rest(mut self) -> Vec<Told> {
        let mut told = Vec::new();
        while let Some(next) = self.told().await {
            told.push(next);
        }
        told
    }
}

/// A block without an event is a comment.
fn read(text: &str) -> Option<Block> {
    let mut block = Block { id: None, event: String::new(), data: String::new() };
    let mut data = Vec::new();
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("id", id)) => block.id = Some(id.parse().unwrap()),
            Some(("event", event)) => block.event = event.to_owned(),
            Some(("data", part)) => data.push(part),
            _ => assert!(line.is_empty() || line.starts_with(':'), "{line:?}"),
        }
    }
    block.data = data.join("\n");
    (!block.event.is_empty()).then_some(block)
}
