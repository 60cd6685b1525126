//! What lives now, and whether anything is where it must not be.

use insula_agent::InstanceMarker;
use insula_context::{RunId, Timestamp, UserScope};
use serde::Serialize;

/// An instance that exists now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveInstance {
    /// Its mark.
    pub marker: InstanceMarker,
    /// Its owner.
    #[serde(flatten)]
    pub scope: UserScope,
    /// The run that it was made for.
    pub run_id: RunId,
    /// Its class.
    pub class: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "violation")]
#[non_exhaustive]
pub enum Violation {
    /// Two live instances carry one mark.
    SharedMarker {
        /// The mark.
        marker: InstanceMarker,
    },
    /// Somebody tried to run an instance in another owner's context. It was refused.
    ForeignContext {
        /// The instance's mark.
        marker: InstanceMarker,
        /// Whose it is.
        owner: UserScope,
        /// Whose context it was offered.
        offered: UserScope,
    },
}

/// The answer to "does everyone have only their own?".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IsolationReport {
    /// The instances that exist now, ordered by owner.
    pub live: Vec<LiveInstance>,
    /// What was found; expected to be empty. The last 1,000 are kept.
    pub violations: Vec<Violation>,
}
