//! A run as one file of JSON lines: written from the log, read and checked as a whole, taken in under whoever imports it.
//!
//! The file's first line says what it is. Then comes each run of the family, its events in the order of the log, each as
//! it is on the wire, and large values before the first event that refers to them. The last line counts what came before
//! and carries a hash of it, so that a file that was cut short or changed is not taken for whole. The hash is no
//! signature: who changes a file can count again.
//!
//! In reading order: `lines` (the format), `export`, `read`, `import`.

mod export;
mod import;
mod lines;
mod read;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use insula_context::{RunId, ThreadId, Timestamp};
use insula_infra::{JournalEntry, NewEvent, Payload, PayloadHash, RawJson, RunChange, RunStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{export::Export, import::Imported};
use crate::{End, Error, events};

/// How much of a run goes into a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What readers of the log see. Secrets stay hidden.
    #[default]
    Shown,
    /// With what only the engine sees: values before redaction, and causes that are the operator's. An exact replay needs
    /// it. Keep such a file as you keep secrets.
    Whole,
}

/// A run and its children, read from a file and found whole.
///
/// Made by [`Archive::read`]; taken in by [`ExecutionEngineFactory::import`](crate::ExecutionEngineFactory::import) and
/// compared by [`ExecutionEngineFactory::replay_archive`](crate::ExecutionEngineFactory::replay_archive).
#[derive(Debug, Clone)]
pub struct Archive {
    part: Part,
    /// The exported run first, and each run after its parent.
    runs: Vec<ArchivedRun>,
    payloads: HashMap<PayloadHash, Payload>,
}

/// One run of the file. It names no owner: that is whoever imports it.
#[derive(Debug, Clone)]
pub(crate) struct ArchivedRun {
    pub run: RunId,
    /// Where it was. Only a replayed agent is told.
    pub thread: ThreadId,
    /// A run of the same file.
    pub parent: Option<RunId>,
    pub agent: Arc<str>,
    pub version: Arc<str>,
    pub status: RunStatus,
    pub input: RawJson,
    pub created_at: Timestamp,
    pub events: Vec<NewEvent>,
}

impl Archive {
    /// Bytes of the longest line that is accepted.
    pub const MOST_LINE_BYTES: u64 = 64 << 20;
    /// Bytes of the longest file that is accepted.
    pub const MOST_BYTES: u64 = 1 << 30;
    /// The most lines that are accepted.
    pub const MOST_LINES: u64 = 1_000_000;

    /// The run that was exported.
    pub fn run(&self) -> &RunId {
        &self.root().run
    }

    /// The name of its agent class.
    pub fn agent(&self) -> &str {
        &self.root().agent
    }

    /// How much of the run it holds.
    pub fn part(&self) -> Part {
        self.part
    }

    /// How many runs it holds, children included.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn root(&self) -> &ArchivedRun {
        // There is one: a file without is refused.
        &self.runs[0]
    }

    /// How its other runs ended, as far as the words of their ends go.
    pub(crate) fn ends(&self) -> BTreeMap<RunId, End> {
        let end = |member: &ArchivedRun| match member.end() {
            Ok(RunChange::Failed(failure)) => End::Failed(failure),
            Ok(RunChange::Cancelled(reason)) => End::Cancelled(reason),
            _ => End::Completed(Value::Null),
        };
        self.runs.iter().skip(1).map(|member| (member.run.clone(), end(member))).collect()
    }

    /// The value itself, or what it refers to.
    pub(crate) fn whole(&self, value: &RawJson) -> Result<Value, Error> {
        match events::reference(value) {
            Some(hash) => self.payload(&hash),
            None => parsed(value.get().as_bytes()),
        }
    }

    /// The large value of this hash.
    pub(crate) fn payload(&self, hash: &PayloadHash) -> Result<Value, Error> {
        match self.payloads.get(hash) {
            Some(payload) => parsed(payload.bytes()),
            None => Err(Error::Json { what: "the archived value", problem: format!("payload {hash} is not there") }),
        }
    }
}

fn parsed(text: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(text).map_err(|e| Error::Json { what: "the archived value", problem: e.to_string() })
}

impl ArchivedRun {
    /// How it ended.
    pub(crate) fn end(&self) -> Result<RunChange, Error> {
        let ending = self.events.last().ok_or_else(|| "there is none".to_owned()).and_then(import::ending);
        ending.map_err(|problem| Error::Json { what: "the archived end", problem })
    }

    /// What the engine recorded of it.
    pub(crate) fn entries(&self) -> Vec<JournalEntry> {
        let entry = |event: &NewEvent| JournalEntry {
            kind: event.kind,
            data: Arc::clone(&event.data),
            journal: event.journal.clone(),
        };
        self.events.iter().map(entry).collect()
    }
}
