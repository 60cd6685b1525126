//! What the engine writes down for itself when a run is made, so that whoever resumes it knows what its maker knew.

use std::collections::BTreeMap;

use insula_context::{Ceiling, ContextBuilder, SessionId, UserExecutionContext};
use insula_infra::RawJson;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, events};

/// Kept with the run, and not shown to its owner. Empty for most runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunOptions {
    /// How deep it stands below the run that somebody asked for.
    #[serde(skip_serializing_if = "is_zero")]
    pub depth: u8,
    /// The login session outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// What the caller passed along.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Value>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit: BTreeMap<String, Value>,
    /// The trace that it is part of, as a `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What the run may spend, where that was asked for or is what its parent had left.
    #[serde(skip_serializing_if = "Ceiling::is_open")]
    pub budget: Ceiling,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(depth: &u8) -> bool {
    *depth == 0
}

impl RunOptions {
    /// What has to be kept of a context.
    pub(crate) fn of(context: &UserExecutionContext) -> Self {
        Self {
            depth: context.depth(),
            session: context.session().map(ToString::to_string),
            data: context.data().clone(),
            audit: context.audit().clone(),
            trace: context.trace().map(ToString::to_string),
            budget: Ceiling::default(),
        }
    }

    /// As it is stored; `None` when there is nothing to say.
    pub(crate) fn stored(&self) -> Option<RawJson> {
        if *self == Self::default() {
            return None;
        }
        events::raw("the options", self).ok()
    }

    /// Reads what was stored.
    ///
    /// # Errors
    /// In words, when it is not what this engine writes.
    pub(crate) fn read(stored: Option<&RawJson>) -> Result<Self, String> {
        stored.map_or_else(
            || Ok(Self::default()),
            |text| serde_json::from_str(text.get()).map_err(|error| format!("its options cannot be read: {error}")),
        )
    }

    /// The context as its maker had it.
    pub(crate) fn apply(self, mut context: ContextBuilder) -> Result<ContextBuilder, Error> {
        if let Some(session) = self.session {
            context = context.session(SessionId::new(session)?);
        }
        // One that cannot be read is none.
        if let Some(trace) = self.trace.and_then(|trace| trace.parse().ok()) {
            context = context.trace(trace);
        }
        let with_data = self.data.into_iter().fold(context, |context, (key, value)| context.data(key, value));
        let with_audit = self.audit.into_iter().fold(with_data, |context, (key, value)| context.audit(key, value));
        Ok(with_audit.depth(self.depth))
    }
}
