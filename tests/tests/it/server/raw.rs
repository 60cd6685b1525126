//! Bytes on a connection, as no well-behaved client sends them.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Nothing of these suites takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends these bytes and reads until the server closes the connection; what came, as text.
pub(super) async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have had enough before the end.
    let _refused_meanwhile = stream.write_all(bytes).await;
    until_closed(&mut stream).await
}

pub(super) async fn until_closed(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = async {
        let mut part = [0; 4_096];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            said.extend_from_slice(&part[..read]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("the server closes the connection");
    String::from_utf8_lossy(&said).into_owned()
}

/// The status of an answer that was read as text.
pub(super) fn status(said: &str) -> Option<u16> {
    said.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()
}

/// The request that opens a socket.
pub(super) fn upgrade(address: SocketAddr, bearer: &str) -> String {
    format!(
        "GET /v1/socket HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {bearer}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A frame of a client, with a mask that masks nothing.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => frame.push(0x80 | u8::try_from(length).unwrap()),
        Ok(length) => {
            frame.push(0x80 | 126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// Frame kinds, each one final.
pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;

/// Reads the head of an answer, byte by byte: what follows belongs to somebody else.
pub(super) async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("an answer comes");
        head.push(byte.expect("an answer has a head"));
    }
    String::from_utf8(head).unwrap()
}
