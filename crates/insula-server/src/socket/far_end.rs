//! Events as frames, in chunks that are written together.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use axum::extract::ws::Utf8Bytes;
use insula_context::ThreadId;
use insula_engine::{Batch, Delivery, Gone};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    feed::{Next, Pace, arrange},
    metrics::{self, Metrics},
    wire::Frame,
};

/// Bytes of frames that are handed over at once. What waits for a client is a few of these, however far it is behind.
const CHUNK_BYTES: usize = 64 << 10;

/// Frames that are written together.
pub(super) type Chunk = Vec<Utf8Bytes>;

/// Hands a user's events to the socket's writer, and waits as long as that takes nothing.
pub(super) struct FarEnd {
    outbox: mpsc::Sender<Chunk>,
    paces: HashMap<ThreadId, Pace>,
    metrics: Arc<Metrics>,
}

/// A frame's text. Frames have a JSON form: they are made of what was read from JSON, and of text and numbers.
pub(super) fn text(frame: &impl Serialize) -> Utf8Bytes {
    serde_json::to_string(frame).unwrap_or_default().into()
}

impl FarEnd {
    pub(super) fn new(outbox: mpsc::Sender<Chunk>, metrics: Arc<Metrics>) -> Self {
        Self { outbox, paces: HashMap::new(), metrics }
    }

    async fn send(&self, chunk: Chunk) -> Result<(), Gone> {
        self.metrics.frames_sent(metrics::Frame::Event, chunk.len());
        self.outbox.send(chunk).await.map_err(|_| Gone)
    }

    fn frame(&self, thread: &ThreadId, next: &Next) -> Utf8Bytes {
        match next {
            Next::Event(event) => text(&Frame::Event { thread_id: thread.as_str(), event }),
            Next::Gap(gap) => {
                self.metrics.gap(gap.reason.into());
                text(&Frame::Gap(gap))
            }
        }
    }
}

#[async_trait]
impl Delivery for FarEnd {
    async fn deliver(&mut self, batch: Batch) -> Result<(), Gone> {
        let Batch { thread, items, cursor, head } = batch;
        let pace = self.paces.entry(thread.clone()).or_default();
        let (mut chunk, mut bytes) = (Chunk::new(), 0);
        for next in arrange(pace, &thread, items, (cursor, head)) {
            let frame = self.frame(&thread, &next);
            bytes += frame.len();
            chunk.push(frame);
            if bytes >= CHUNK_BYTES {
                self.send(std::mem::take(&mut chunk)).await?;
                bytes = 0;
            }
        }
        if chunk.is_empty() { Ok(()) } else { self.send(chunk).await }
    }
}
