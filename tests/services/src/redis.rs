//! A part of the server that all tests share, or a server of one's own that may be stopped and killed.

mod private;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub use private::{Keeping, PrivateRedis};

use crate::address::{named_by, unique};

const ADDRESS: &str = "INSULA_TEST_REDIS";

/// A server that says nothing for so long is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys of one's own on a server that all tests share: those that begin with [`prefix`](Self::prefix). They are removed
/// when the value is dropped.
#[derive(Debug)]
pub struct Redis {
    url: String,
    prefix: String,
}

impl Redis {
    /// A prefix that nobody else has.
    ///
    /// # Panics
    /// When `INSULA_TEST_REDIS` is not set, or is more than `redis://host:port`.
    #[must_use]
    pub fn fresh() -> Self {
        let url = named_by(ADDRESS);
        assert!(host_and_port(&url).is_some(), "{ADDRESS}={url} is not redis://host:port");
        Self { url, prefix: format!("insula-test-{}:", unique()) }
    }

    /// A server of one's own, on a free port and in a temporary folder; it ends when the value is dropped, and with the
    /// process.
    ///
    /// # Panics
    /// When `redis-server` is not on the path, or does not begin to answer.
    pub async fn private(keeping: Keeping) -> PrivateRedis {
        PrivateRedis::start(keeping).await
    }

    /// The address of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What every key and channel of this test has to begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A server that was stopped under us keeps nothing either way.
        let _ = remove(&self.url, &self.prefix);
    }
}

fn remove(url: &str, prefix: &str) -> io::Result<()> {
    const REMOVE: &str = "local keys = redis.call('KEYS', ARGV[1]) \
        for i = 1, #keys do redis.call('UNLINK', keys[i]) end return #keys";
    let answer = ask(url, &["EVAL", REMOVE, "0", &format!("{prefix}*")])?;
    if answer.starts_with(':') { Ok(()) } else { Err(io::Error::other(answer)) }
}

/// One command, and the first line of the answer. No client is needed for so little.
fn ask(url: &str, words: &[&str]) -> io::Result<String> {
    let address = host_and_port(url).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let said: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    stream.write_all(format!("*{}\r\n{said}", words.len()).as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
    }
    Ok(String::from_utf8_lossy(&answer).trim_end().into())
}

fn host_and_port(url: &str) -> Option<&str> {
    let address = url.strip_prefix("redis://")?.trim_end_matches('/');
    (address.contains(':') && !address.contains(['/', '@', '?'])).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_address_is_one() {
        assert_eq!(host_and_port("redis://127.0.0.1:6379/"), Some("127.0.0.1:6379"));
        for wrong in ["redis://:secret@host:1", "redis://host", "redis://host:1/2", "rediss://host:1"] {
            assert_eq!(host_and_port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn keys_end_with_the_test_and_those_of_others_stay() {
        let (mine, other) = (Redis::fresh(), Redis::fresh());
        let keys = [&mine, &other].map(|redis| format!("{}key", redis.prefix()));
        for key in &keys {
            assert_eq!(ask(mine.url(), &["SET", key, "1"]).unwrap(), "+OK");
        }
        drop(mine);
        assert_eq!(ask(other.url(), &["EXISTS", &keys[0]]).unwrap(), ":0");
        assert_eq!(ask(other.url(), &["EXISTS", &keys[1]]).unwrap(), ":1");
    }
}
