//! The lines of the file. Their shapes change only by addition; [`VERSION`] says when that is not enough.

use std::collections::BTreeMap;

use insula_context::Timestamp;
use insula_infra::{Event, PayloadHash, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Part;
use crate::events;

pub(super) const FORMAT: &str = "insula.run";
pub(super) const VERSION: u32 = 1;

/// One line, as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Archive(Head),
    Run(RunLine),
    Payload(PayloadLine),
    Event(EventLine),
    End(End),
}

impl Line {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Archive(_) => "archive",
            Self::Run(_) => "run",
            Self::Payload(_) => "payload",
            Self::Event(_) => "event",
            Self::End(_) => "end",
        }
    }
}

/// One line, as it is written.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Written<'a> {
    Archive(&'a Head),
    Run(&'a RunLine),
    Payload(&'a PayloadLine),
    Event(WrittenEvent<'a>),
    End(&'a End),
}

/// What the file is.
#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    pub format: String,
    pub version: u32,
    pub part: Part,
    pub run_id: String,
}

/// A run, before its first event. How it ended is what its last event says.
#[derive(Serialize, Deserialize)]
pub(super) struct RunLine {
    pub run_id: String,
    /// Where and whose it was: an import makes nothing of either.
    pub thread_id: String,
    pub user_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_run_id: Option<String>,
    pub agent: String,
    pub version: String,
    pub status: String,
    pub created_at: Timestamp,
    /// How many events follow.
    pub events: u64,
    pub input: RawJson,
}

/// A large value. Payloads are JSON texts, so they are written as the strings that they are.
#[derive(Serialize, Deserialize)]
pub(super) struct PayloadLine {
    pub hash: String,
    pub text: String,
}

/// The envelope of the wire, and what only the engine sees beside it.
#[derive(Serialize)]
pub(super) struct WrittenEvent<'a> {
    #[serde(flatten)]
    pub event: &'a Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<RawJson>,
}

/// What is read of it. The rest is said by the run's line, or is given anew.
#[derive(Deserialize)]
pub(super) struct EventLine {
    #[serde(rename = "type")]
    pub kind: String,
    pub run_id: String,
    pub timestamp: Timestamp,
    pub data: RawJson,
    pub journal: Option<RawJson>,
}

/// What came before.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    pub runs: u64,
    pub events: u64,
    pub payloads: u64,
    /// Of all lines before, each with the hash so far before it.
    pub hash: String,
}

/// The hash of all lines so far.
#[derive(Default)]
pub(super) struct Chain(String);

impl Chain {
    pub(super) fn add(&mut self, line: &str) {
        self.0 = PayloadHash::of([&self.0, line].concat().as_bytes()).to_string();
    }

    pub(super) fn hash(&self) -> &str {
        &self.0
    }
}

/// The payloads that an event's data refers to. The engine refers to payloads from the outermost fields only, and a value
/// that merely looks like a reference is never there.
///
/// # Errors
/// When the data is no object.
pub(super) fn references(data: &RawJson) -> Result<Vec<PayloadHash>, serde_json::Error> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(data.get())?;
    Ok(fields.values().filter_map(|value| events::reference(&RawJson::from((*value).to_owned()))).collect())
}
