//! Questions that runs have asked, and the answers to them. A question outlives the process that asked it.

use std::sync::Arc;

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use serde::Serialize;

use crate::{Error, Page, PageRequest, RawJson, RunHeader, WaitFor};

/// A question that a run asks, written in the same append as the event that says so.
#[derive(Debug, Clone)]
pub struct NewQuestion {
    /// Its place in the run's order of calls: what answers refer to. One question of a run has it at a time.
    pub index: u32,
    /// Whether a human is to decide, or somebody who knows whether an effect happened.
    pub kind: WaitFor,
    /// The words, the schema of the answer, the choices.
    pub question: RawJson,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// An answer that comes at this time or later is not taken.
    pub expires_at: Option<Timestamp>,
}

/// A question that nobody has answered yet.
#[derive(Debug, Clone)]
pub struct OpenQuestion {
    /// Who asks.
    pub header: Arc<RunHeader>,
    /// What is asked.
    pub question: NewQuestion,
}

impl Serialize for OpenQuestion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut open = serializer.serialize_struct("Question", 8)?;
        open.serialize_field("run_id", &self.header.run)?;
        open.serialize_field("thread_id", &self.header.thread)?;
        open.serialize_field("agent", &self.header.agent)?;
        open.serialize_field("index", &self.question.index)?;
        open.serialize_field("waiting_for", &self.question.kind)?;
        open.serialize_field("question", &self.question.question)?;
        open.serialize_field("asked_at", &self.question.asked_at)?;
        open.serialize_field("expires_at", &self.question.expires_at)?;
        open.end()
    }
}

/// An answer on its way to the run that asked.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Which question of the run.
    pub index: u32,
    /// What was answered.
    pub answer: RawJson,
    /// Who answered.
    pub by: Arc<str>,
}

/// What became of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerRequest {
    /// It is recorded; whoever holds or claims the run hands it to the agent. A parked run is to be claimed from now on.
    Recorded,
    /// Somebody has answered before. The first answer is kept.
    Answered,
    /// It comes too late.
    Expired,
}

/// A user's open questions. Absent and foreign look the same: `None`.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Questions of this user's runs, or of one of them, that are open: not answered, not expired, and the run has not
    /// ended. Newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn questions(
        &self,
        scope: &UserScope,
        run: Option<&RunId>,
        page: &PageRequest,
    ) -> Result<Page<OpenQuestion>, Error>;

    /// Records an answer, once and durably, and wakes the run if it is parked. `None` when the run has no such question
    /// or has ended. Whether the answer fits is for the caller to check: a question never changes.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn answer(&self, scope: &UserScope, run: &RunId, answer: Answer) -> Result<Option<AnswerRequest>, Error>;
}
