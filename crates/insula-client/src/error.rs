//! Why something was not done.

use std::{error::Error as _, fmt, time::Duration};

use serde::Deserialize;

/// The server refused something, in its words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Which problem: `urn:insula:problem:NAME`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The problem in a few words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong here.
    pub detail: String,
    /// What does not fit, each thing by itself.
    pub violations: Vec<String>,
    /// When it is worth to come back.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// What the server's log knows it by.
    pub request_id: Option<String>,
}

impl Problem {
    /// The last part of its type: `not-found`.
    pub fn name(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.detail.is_empty() { &self.title } else { &self.detail })
    }
}

/// Why there is no secure connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// The certificate is not one that is believed here.
    Certificate,
    /// The other side speaks otherwise, or not at all.
    Protocol,
}

/// A request was not made, not answered, or refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was given as the server is no address.
    #[error("\"{address}\" is no address of a server: {problem}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The key would cross a network for everybody to read.
    #[error("{host} is another machine, and over http everybody on the way could read the key")]
    InTheClear {
        /// The other machine.
        host: String,
    },
    /// What was given as the key is none.
    #[error("the key is none: it has characters that cannot be sent")]
    Key,
    /// An id that cannot stand in an address or a header.
    #[error("\"{id}\" cannot be sent as an id")]
    Id {
        /// The id.
        id: String,
    },
    /// No answer, or none to its end.
    #[error("{server} does not answer")]
    Unreachable {
        /// The address.
        server: String,
        /// What happened on the way.
        #[source]
        source: reqwest::Error,
    },
    /// A stream went silent, or was closed before it had said anything.
    #[error("{server} says nothing on its stream")]
    Silent {
        /// The address.
        server: String,
    },
    /// The server refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// The answer is none of an Insula server.
    #[error("{server} answered with status {status}, and not as an Insula server does")]
    Strange {
        /// The address.
        server: String,
        /// The status.
        status: u16,
    },
    /// An answer is not JSON, or does not have the shape that it should have.
    #[error("the answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// An answer is larger than any should be.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// How much is accepted.
        limit: usize,
    },
}

impl Error {
    /// The server's words, if they are what this is.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether the same request may be answered later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => self.tls().is_none(),
            Self::Silent { .. } => true,
            Self::Problem(problem) => matches!(problem.status, 429 | 502..=504),
            Self::Strange { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }

    /// Why there is no secure connection, if that is what happened.
    pub fn tls(&self) -> Option<Tls> {
        let mut next = self.source();
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<rustls::Error>() {
                let is_certificate = matches!(found, rustls::Error::InvalidCertificate(_));
                return Some(if is_certificate { Tls::Certificate } else { Tls::Protocol });
            }
            // What an I/O error wraps is not its source.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            next = wrapped.map(|wrapped| wrapped as &(dyn std::error::Error + 'static)).or_else(|| error.source());
        }
        None
    }
}
