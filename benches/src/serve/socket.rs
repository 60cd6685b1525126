//! One WebSocket of a client.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

pub(super) struct Socket(WebSocketStream<TcpStream>);

/// An event, and when its frame came, in milliseconds of the minute.
pub(super) type Seen = (Value, f64);

impl Socket {
    pub(super) async fn open(address: SocketAddr, key: &str) -> Result<Self> {
        let mut request = format!("ws://{address}/v1/socket").into_client_request()?;
        request.headers_mut().insert("Authorization", format!("Bearer {key}").parse()?);
        let stream = TcpStream::connect(address).await?;
        // Small, because there are thousands of them in this process.
        let config = WebSocketConfig::default().read_buffer_size(16 << 10);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self(socket))
    }

    /// Subscribes to a thread from its beginning, and waits until that is done.
    pub(super) async fn subscribe(&mut self, thread: &str) -> Result<()> {
        let command = json!({"type": "subscribe", "thread_id": thread, "after": 0}).to_string();
        self.0.send(Message::text(command)).await?;
        while let Some(message) = self.0.next().await {
            if message?.to_text()?.contains("\"ack\"") {
                return Ok(());
            }
        }
        bail!("the socket was closed")
    }

    /// Reads until a run has ended. What costs time is left for later.
    pub(super) async fn until_the_end(&mut self) -> Result<Vec<Seen>> {
        let mut frames = Vec::new();
        while let Some(message) = self.0.next().await {
            let Message::Text(text) = message? else { continue };
            let is_last = text.contains("\"agent_completed\"");
            frames.push((text, minute_millis()?));
            if is_last {
                return seen(&frames);
            }
        }
        bail!("the socket was closed")
    }
}

fn seen(frames: &[(impl AsRef<[u8]>, f64)]) -> Result<Vec<Seen>> {
    let mut events = Vec::with_capacity(frames.len());
    for (text, at) in frames {
        let mut frame: Value = serde_json::from_slice(text.as_ref())?;
        if frame["type"] == "event" {
            events.push((frame["event"].take(), *at));
        }
    }
    Ok(events)
}

fn minute_millis() -> Result<f64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock after 1970")?;
    Ok((since.as_micros() % 60_000_000) as f64 / 1e3)
}
