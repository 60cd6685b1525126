//! Each fault, seen from a client.

use std::io::ErrorKind;
use std::num::NonZeroU64;
use std::time::Duration;

use insula_test_services::{Fault, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Long enough to see that nothing comes. It is only ever waited for where nothing may come.
const NOTHING_COMES: Duration = Duration::from_millis(100);

/// Answers every byte with the same byte.
async fn echo() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
    let address = listener.local_addr().expect("a bound socket has an address").to_string();
    let serving = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            connections.spawn(async move {
                let (mut from, mut to) = stream.split();
                // Whether a test ends its connection politely is its own business.
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    (address, serving)
}

async fn through(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.addr()).await.expect("the proxy listens")
}

/// Sends, and waits for the same to come back.
async fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("the connection is open");
    hears(stream, text).await;
}

async fn hears(stream: &mut TcpStream, text: &str) {
    let mut heard = vec![0; text.len()];
    stream.read_exact(&mut heard).await.expect("the connection is open");
    assert_eq!(String::from_utf8_lossy(&heard), text);
}

async fn hears_nothing(stream: &mut TcpStream) {
    let heard = tokio::time::timeout(NOTHING_COMES, stream.read_u8()).await;
    assert!(heard.is_err(), "{heard:?}");
}

#[tokio::test]
async fn without_a_fault_everything_passes_and_is_counted() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut stream = through(&proxy).await;
    says(&mut stream, "hello").await;
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the end is passed on as well");
    let seen = proxy.seen();
    assert_eq!((seen.connections, seen.requested, seen.answered), (1, 5, 5));
}

#[tokio::test]
async fn refusing_meets_new_connections_only_and_the_port_is_the_same_afterwards() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut open = through(&proxy).await;
    says(&mut open, "before").await;
    proxy.set(Fault::Refuse).await;
    assert_eq!(TcpStream::connect(proxy.addr()).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    says(&mut open, "still here").await;
    proxy.set(Fault::Pass).await;
    says(&mut through(&proxy).await, "again").await;
}

#[tokio::test]
async fn cutting_resets_what_is_open_also_in_a_black_hole() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    for fault in [Fault::Pass, Fault::BlackHole] {
        proxy.set(Fault::Pass).await;
        let mut stream = through(&proxy).await;
        says(&mut stream, "open").await;
        proxy.set(fault).await;
        proxy.cut().await;
        assert_eq!(proxy.seen().open, 0);
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_black_hole_holds_everything_and_loses_nothing() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut old = through(&proxy).await;
    says(&mut old, "before").await;
    proxy.set(Fault::BlackHole).await;
    let mut new = through(&proxy).await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"held").await.unwrap();
        hears_nothing(stream).await;
    }
    assert_eq!(proxy.seen().requested, 6, "the server has not heard of it");
    proxy.set(Fault::Pass).await;
    hears(&mut old, "held").await;
    hears(&mut new, "held").await;
}

#[tokio::test]
async fn held_answers_are_those_of_work_that_was_done() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut stream = through(&proxy).await;
    proxy.set(Fault::HoldAnswers).await;
    stream.write_all(b"done").await.unwrap();
    hears_nothing(&mut stream).await;
    let seen = proxy.seen();
    assert_eq!((seen.requested, seen.answered), (4, 0));
    proxy.set(Fault::Pass).await;
    hears(&mut stream, "done").await;
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_there_and_back() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut stream = through(&proxy).await;
    says(&mut stream, "connected").await;
    proxy.set(Fault::Delay(Duration::from_secs(60))).await;
    let begun = tokio::time::Instant::now();
    says(&mut stream, "slowly").await;
    assert!(begun.elapsed() >= Duration::from_secs(120), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_throttle_lets_so_many_bytes_through_in_a_second() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut stream = through(&proxy).await;
    says(&mut stream, "connected").await;
    proxy.set(Fault::Throttle(NonZeroU64::new(10).unwrap())).await;
    let begun = tokio::time::Instant::now();
    says(&mut stream, &"x".repeat(600)).await;
    assert!(begun.elapsed() >= Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_proxy_that_is_dropped_closes_its_connections() {
    let (server, _serving) = echo().await;
    let proxy = Proxy::to(&server);
    let mut stream = through(&proxy).await;
    says(&mut stream, "open").await;
    let address = proxy.addr();
    drop(proxy);
    assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
