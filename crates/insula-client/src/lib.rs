//! A thin client of an Insula server: the requests of its API, and streams of events that survive a lost connection.
//!
//! Which routes there are, and what they take and give, is in `docs/api.md`; answers are [`Json`], as the server sent them.
//! What the server refuses comes back as a [`Problem`]. Requests that may be repeated are, when they fail on the way; all
//! others are made once.
//!
//! ```no_run
//! use insula_client::{Client, Item, Key};
//! use serde_json::{Value, json};
//!
//! # async fn example(key: String) -> Result<(), insula_client::Error> {
//! let client = Client::new("http://127.0.0.1:7400", &Key::new(key))?;
//! let run: Value = client.submit(&json!({"agent": "echo", "input": "salve"}), None).await?.read()?;
//! let mut events = client.follow(&["runs", run["run_id"].as_str().unwrap_or_default(), "events"], 0)?;
//! while let Some(item) = events.next().await? {
//!     if let Item::Event { event, .. } = item {
//!         println!("{}", event.text());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: `client` (who is spoken to, and what can be asked), `wire` (waiting, repeating, refusals), `events`
//! (streams), `sse` (their form), `json`, `error`.

mod client;
mod error;
mod events;
mod json;
mod sse;
#[cfg(test)]
mod tests;
mod wire;

pub use client::{Client, Key, Ready};
pub use error::{Error, Problem, Tls};
pub use events::{Events, Item};
pub use json::{Json, Lines, Page};
pub use reqwest::Method;
pub use wire::Patience;
