//! A client of the socket.

use std::{net::SocketAddr, time::Duration};

use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue, protocol::Role},
};

use super::told::Told;

/// Nothing of these suites takes as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A socket.
pub(super) struct Socket(pub(super) WebSocketStream<TcpStream>);

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    Text(String),
    /// The server has closed it, with this code; without one, the connection broke off.
    Closed(Option<u16>),
}

#[derive(Deserialize)]
struct EventFrame<'a> {
    #[serde(borrow)]
    event: &'a RawValue,
}

impl Socket {
    /// Opens one; the status where it is refused.
    pub(super) async fn open(address: SocketAddr, bearer: &str) -> Result<Self, u16> {
        Self::knock(address, "/v1/socket", &[("authorization", &format!("Bearer {bearer}"))]).await
    }

    /// As [`Socket::open`], with any path and headers.
    pub(super) async fn knock(address: SocketAddr, path: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let stream = TcpStream::connect(address).await.unwrap();
        Self::over(stream, address, path, headers).await
    }

    /// One whose system keeps next to nothing of what it does not read.
    pub(super) async fn narrow(address: SocketAddr, bearer: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let bearer = format!("Bearer {bearer}");
        Self::over(stream, address, "/v1/socket", &[("authorization", &bearer)]).await.expect("it is let in")
    }

    async fn over(
        stream: TcpStream,
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
        }
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// A socket whose handshake somebody has made by hand.
    pub(super) async fn of(stream: TcpStream) -> Self {
        Self(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
    }

    pub(super) async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    pub(super) async fn say(&mut self, command: Value) {
        self.send(Message::text(command.to_string())).await;
    }

    pub(super) async fn subscribe(&mut self, thread: &str, after: u64) {
        self.say(json!({"type": "subscribe", "thread_id": thread, "after": after})).await;
        assert_eq!(self.frame().await["type"], "ack");
    }

    /// Whatever comes next, heartbeats as well.
    pub(super) async fn message(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something comes")
    }

    pub(super) async fn hear(&mut self) -> Heard {
        loop {
            match self.message().await {
                Some(Ok(Message::Text(text))) => return Heard::Text(text.to_string()),
                Some(Ok(Message::Close(frame))) => return Heard::Closed(frame.map(|frame| frame.code.into())),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(_)) | None => return Heard::Closed(None),
            }
        }
    }

    /// The next frame.
    pub(super) async fn frame(&mut self) -> Value {
        match self.hear().await {
            Heard::Text(text) => serde_json::from_str(&text).unwrap(),
            closed => panic!("{closed:?}"),
        }
    }

    /// The next frame, which is an event.
    pub(super) async fn told(&mut self) -> Told {
        match self.hear().await {
            Heard::Text(text) => event(&text).unwrap_or_else(|| panic!("no event: {text}")),
            closed => panic!("{closed:?}"),
        }
    }

    /// Events up to the end of this run.
    pub(super) async fn until_end_of(&mut self, run: &str) -> Vec<Told> {
        let mut told: Vec<Told> = Vec::new();
        while told.last().is_none_or(|last| !last.ends(run)) {
            told.push(self.told().await);
        }
        told
    }

    /// The code with which the server closes it, whatever else comes before.
    pub(super) async fn close_code(&mut self) -> Option<u16> {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }

    /// Whether the server still listens and answers.
    pub(super) async fn answers(&mut self) {
        self.say(json!({"type": "ping", "id": "still there?"})).await;
        assert_eq!(self.frame().await, json!({"type": "pong", "id": "still there?"}));
    }
}

/// The event of a frame, if it is of one.
pub(super) fn event(frame: &str) -> Option<Told> {
    let frame: EventFrame<'_> = serde_json::from_str(frame).ok()?;
    Some(Told::read(frame.event.get()))
}
