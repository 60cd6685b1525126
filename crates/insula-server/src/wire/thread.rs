//! Conversations.

use insula_context::Timestamp;
use insula_infra::{Deleted, ThreadRecord};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub struct Thread {
    /// Its id.
    pub thread_id: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The `seq` of its last event; 0 when there is none.
    pub head: u64,
    /// What it begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ThreadFork>,
}

/// Where a thread branches off from another.
#[derive(Debug, Serialize, ToSchema)]
pub struct ThreadFork {
    /// The other.
    pub thread_id: String,
    /// The last event that both have.
    pub seq: u64,
}

impl From<ThreadRecord> for Thread {
    fn from(record: ThreadRecord) -> Self {
        Self {
            thread_id: record.thread_id.to_string(),
            created_at: record.created_at,
            head: record.head,
            forked_from: record
                .forked_from
                .map(|fork| ThreadFork { thread_id: fork.thread_id.to_string(), seq: fork.seq }),
        }
    }
}

/// A conversation that is to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewThread {
    /// Its id; a fresh one otherwise.
    #[serde(default)]
    pub thread_id: Option<String>,
}

/// Where to branch off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkOrder {
    /// The last event that the new thread has of this one.
    pub seq: u64,
    /// The id of the new thread; a fresh one otherwise.
    #[serde(default)]
    pub thread_id: Option<String>,
}

/// How much was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeletedCount {
    /// Threads.
    pub threads: u64,
    /// Runs.
    pub runs: u64,
}

impl From<Deleted> for DeletedCount {
    fn from(deleted: Deleted) -> Self {
        Self { threads: deleted.threads, runs: deleted.runs }
    }
}
