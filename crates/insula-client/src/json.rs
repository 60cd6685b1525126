//! Answers as they came.

use reqwest::Response;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::{RawValue, to_raw_value};

use crate::{Client, Error, sse::Splitter};

/// A JSON value as it was written: its fields in their order, on one line. Serializes to itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The JSON form of a value.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it has none.
    pub fn of(value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        Ok(Self(to_raw_value(value)?))
    }

    /// Reads text that somebody sent.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is not JSON.
    pub fn parse(text: &str) -> Result<Self, Error> {
        // Within a string there is neither, so these only lay the text out.
        Ok(serde_json::from_str(&text.replace(['\n', '\r'], " "))?)
    }

    /// The value as a type of the caller's.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it has another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_str(self.text())?)
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

/// A part of a list, or all of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Page {
    /// The entries, newest first.
    pub items: Vec<Json>,
    /// Where it would go on; nothing at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// Lines of text as they come.
#[derive(Debug)]
pub struct Lines {
    pub(crate) client: Client,
    pub(crate) response: Option<Response>,
    pub(crate) lines: Splitter,
}

impl Lines {
    /// The next line, without its end. Cancellation safe.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the rest does not come.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(line) = self.lines.line() {
                return Ok(Some(line));
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            match response.chunk().await.map_err(|source| self.client.unreachable(source))? {
                Some(piece) => self.lines.push(&piece)?,
                None => {
                    self.response = None;
                    return Ok(self.lines.rest());
                }
            }
        }
    }
}
