//! Runs, what is asked for, and what came of it.

use insula_context::Timestamp;
use insula_engine::{Difference, Imported, Part, Replay, ThreadPolicy};
use insula_infra::{AnswerRequest, CancelRequest, RawJson, RunRecord};
use insula_registry::AgentClass;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Span;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub struct Run {
    /// Its id.
    pub run_id: String,
    /// Its conversation.
    pub thread_id: String,
    /// Whose it is.
    pub user_id: String,
    /// The run that started it.
    pub parent_run_id: Option<String>,
    /// The agent class.
    pub agent: String,
    /// The version of the class.
    pub version: String,
    /// `queued`, `running`, `waiting`, `completed`, `failed` or `cancelled`.
    pub status: &'static str,
    /// What it waits for: `human`, `timer`, `child` or `reconcile`.
    pub waits_for: Option<&'static str>,
    /// What it was given; only where one run is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub input: Option<RawJson>,
    /// What came of it.
    #[schema(value_type = Option<Object>)]
    pub result: Option<RawJson>,
    /// How it failed.
    pub failure: Option<RunFailure>,
    /// Who stopped it, or asked for it.
    #[schema(value_type = Option<Object>)]
    pub cancel: Option<insula_context::CancelReason>,
    /// Whether a later run took its place, so that what it did does not count.
    pub rolled_back: bool,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// How many events it has.
    pub events: u64,
}

/// How a run failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunFailure {
    /// `error`, `timeout`, `panic`, `returned_nothing`, `budget` or `lost`.
    pub reason: &'static str,
    /// What happened, in words for the user.
    pub message: String,
}

impl From<RunRecord> for Run {
    fn from(record: RunRecord) -> Self {
        let header = &record.header;
        Self {
            run_id: header.run.to_string(),
            thread_id: header.thread.to_string(),
            user_id: header.scope.user().to_string(),
            parent_run_id: header.parent.as_ref().map(ToString::to_string),
            agent: header.agent.to_string(),
            version: record.version.to_string(),
            status: record.status.as_str(),
            waits_for: record.waits_for.map(insula_infra::WaitFor::as_str),
            input: None,
            result: record.result,
            failure: record
                .failure
                .map(|failure| RunFailure { reason: failure.reason.as_str(), message: failure.message }),
            cancel: record.cancel,
            rolled_back: record.rolled_back,
            created_at: record.created_at,
            started_at: record.started_at,
            ended_at: record.ended_at,
            events: record.events,
        }
    }
}

/// A run that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// The agent class.
    pub agent: String,
    /// What it is given.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub input: Value,
    /// In which conversation; in a new one otherwise.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// Its id; a fresh one otherwise.
    #[serde(default)]
    pub run_id: Option<String>,
    /// What it does when others are under way in the conversation: `enqueue`, `reject`, `interrupt`, `rollback`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub policy: ThreadPolicy,
    /// Higher ones begin before the user's others.
    #[serde(default)]
    pub priority: i16,
    /// Not before so much time has passed.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub delay: Option<Span>,
    /// Not before this time.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// To have ended within this time, or by it, its waiting included.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub deadline: Option<Span>,
    /// To spend no more than this, children included.
    #[serde(default)]
    pub budget: BudgetOrder,
    /// Who is to be told of its end.
    #[serde(default)]
    pub webhook: Option<WebhookOrder>,
}

/// How much may be spent of what; no limit where it says nothing.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetOrder {
    /// Tokens of models.
    pub tokens: Option<u64>,
    /// Money, in millionths of the installation's currency.
    pub money: Option<u64>,
    /// Calls of tools.
    pub tool_calls: Option<u64>,
    /// Bytes of results.
    pub bytes: Option<u64>,
    /// Milliseconds of work.
    pub millis: Option<u64>,
}

/// Who is to be told of a run's end.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookOrder {
    /// Where to post.
    pub url: String,
    /// What to sign with; 16 characters at least.
    pub secret: String,
}

impl std::fmt::Debug for WebhookOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither part: a URL may carry a secret as well.
        f.debug_struct("WebhookOrder").finish_non_exhaustive()
    }
}

/// Why a run is to be stopped.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    /// In words for whoever reads the log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Which runs are to be stopped; all of the user's when it says nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelAll {
    /// Only those of this conversation.
    #[serde(default)]
    pub thread_id: Option<String>,
    /// Only those of this agent class.
    #[serde(default)]
    pub agent: Option<String>,
    /// In words for whoever reads the log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What came of the wish to stop a run: `recorded`, `ahead` or `{"ended": STATUS}`.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// Whoever holds it obeys.
    Recorded,
    /// It had ended, with this status.
    Ended(&'static str),
    /// There is no such run yet. One that comes within the hour is stopped before it begins.
    Ahead,
}

impl From<CancelRequest> for Stopped {
    fn from(request: CancelRequest) -> Self {
        match request {
            CancelRequest::Recorded => Self::Recorded,
            CancelRequest::Ended(status) => Self::Ended(status.as_str()),
            CancelRequest::Ahead => Self::Ahead,
        }
    }
}

/// A run that is being stopped.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cancelled {
    /// The run.
    pub run_id: String,
    /// What came of it.
    pub cancel: Stopped,
}

/// Runs that are being stopped.
#[derive(Debug, Serialize, ToSchema)]
pub struct CancelledAll {
    /// Their ids.
    pub run_ids: Vec<String>,
}

/// An answer to a question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The answer.
    #[schema(value_type = Object)]
    pub answer: Value,
    /// The question's index in the inbox; the oldest of the run otherwise.
    #[serde(default)]
    pub question: Option<u32>,
}

/// What came of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// It is recorded.
    Recorded,
    /// Somebody has answered before.
    Answered,
    /// It came too late.
    Expired,
}

impl From<AnswerRequest> for Answered {
    fn from(request: AnswerRequest) -> Self {
        match request {
            AnswerRequest::Recorded => Self::Recorded,
            AnswerRequest::Answered => Self::Answered,
            AnswerRequest::Expired => Self::Expired,
        }
    }
}

/// A question that is answered.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnsweredRun {
    /// The run that asked.
    pub run_id: String,
    /// What came of the answer.
    pub answer: Answered,
}

/// An open question.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenQuestion {
    /// Which run asks.
    pub run_id: String,
    /// In which conversation.
    pub thread_id: String,
    /// Of which agent class.
    pub agent: String,
    /// What an answer refers to.
    pub index: u32,
    /// `human`, or `reconcile`: did an interrupted call happen?
    pub waiting_for: &'static str,
    /// `{text, choices?, schema?}`.
    #[schema(value_type = Object)]
    pub question: RawJson,
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    pub asked_at: Timestamp,
    /// When it is too late.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
}

impl From<insula_infra::OpenQuestion> for OpenQuestion {
    fn from(open: insula_infra::OpenQuestion) -> Self {
        Self {
            run_id: open.header.run.to_string(),
            thread_id: open.header.thread.to_string(),
            agent: open.header.agent.to_string(),
            index: open.question.index,
            waiting_for: open.question.kind.as_str(),
            question: open.question.question,
            asked_at: open.question.asked_at,
            expires_at: open.question.expires_at,
        }
    }
}

/// An agent class.
#[derive(Debug, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct Agent(pub Value);

impl From<&AgentClass> for Agent {
    fn from(class: &AgentClass) -> Self {
        Self(serde_json::to_value(class).unwrap_or_default())
    }
}

/// A run that was taken from an archive.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImportedRun {
    /// The run that was exported.
    pub run_id: String,
    /// Where it is now.
    pub thread_id: String,
    /// How many runs came, its children included.
    pub runs: u64,
    /// How many events.
    pub events: u64,
}

impl From<Imported> for ImportedRun {
    fn from(imported: Imported) -> Self {
        let Imported { run_id, thread_id, runs, events, .. } = imported;
        Self { run_id: run_id.to_string(), thread_id: thread_id.to_string(), runs, events }
    }
}

/// What a replay found.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayReport {
    /// The run.
    pub run_id: String,
    /// Its agent class.
    pub agent: String,
    /// The version that it was started on.
    pub recorded_version: Option<String>,
    /// The version that was executed now.
    pub version: String,
    /// How much is recorded: `shown` or `whole`.
    #[schema(value_type = String)]
    pub part: Part,
    /// Calls that were compared.
    pub calls: u64,
    /// What the agent said and was compared.
    pub said: u64,
    /// Whether all that it said was said again.
    pub same_events: bool,
    /// Whether it ended as it did then.
    pub same_end: bool,
    /// Where the two part first.
    pub difference: Option<ReplayDifference>,
}

/// Two sides that should be one.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayDifference {
    /// Which call, which thought, the end.
    pub place: String,
    /// What is recorded.
    pub recorded: String,
    /// What the agent did now.
    pub replayed: String,
}

impl From<Replay> for ReplayReport {
    fn from(replay: Replay) -> Self {
        let shown = |Difference { place, recorded, replayed, .. }| ReplayDifference { place, recorded, replayed };
        Self {
            run_id: replay.run_id.to_string(),
            agent: replay.agent,
            recorded_version: replay.recorded_version,
            version: replay.version,
            part: replay.part,
            calls: replay.calls,
            said: replay.said,
            same_events: replay.same_events,
            same_end: replay.same_end,
            difference: replay.difference.map(shown),
        }
    }
}
