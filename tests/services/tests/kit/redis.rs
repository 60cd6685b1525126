//! A server of one's own, ended in every way.

use std::time::Duration;

use insula_test_services::{Keeping, PrivateRedis, Redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than an answer takes. It is only ever waited for where nothing may come.
const NOTHING_COMES: Duration = Duration::from_millis(100);

/// One inline command and its answer.
async fn ask(redis: &PrivateRedis, line: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(redis.addr()).await?;
    stream.write_all(format!("{line}\r\n").as_bytes()).await?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..length]).trim_end().into())
}

#[tokio::test]
async fn what_was_to_be_kept_is_there_after_a_kill_and_nothing_else() {
    for (keeping, expected) in [(Keeping::Writes, ":1"), (Keeping::Nothing, ":0")] {
        let mut redis = Redis::private(keeping).await;
        assert_eq!(ask(&redis, "SET key value").await.unwrap(), "+OK");
        redis.kill();
        assert!(ask(&redis, "PING").await.is_err());
        redis.start_again().await;
        assert_eq!(ask(&redis, "EXISTS key").await.unwrap(), expected, "{keeping:?}");
    }
}

#[tokio::test]
async fn a_frozen_server_accepts_and_says_nothing_until_it_thaws() {
    let redis = Redis::private(Keeping::Nothing).await;
    redis.freeze();
    let asking = ask(&redis, "PING");
    tokio::pin!(asking);
    assert!(tokio::time::timeout(NOTHING_COMES, &mut asking).await.is_err());
    redis.thaw();
    assert_eq!(asking.await.unwrap(), "+PONG");
}

#[tokio::test]
async fn a_server_ends_with_its_value() {
    let redis = Redis::private(Keeping::Nothing).await;
    let address = redis.addr();
    drop(redis);
    assert!(TcpStream::connect(address).await.is_err());
}
