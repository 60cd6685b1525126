//! What several ports read back in the same way.

use insula_infra::RawJson;
use serde_json::value::RawValue;

use crate::error::{Stop, Worked};

/// Text that was valid JSON when it was stored.
pub(crate) fn json(text: String) -> Option<RawJson> {
    RawValue::from_string(text).ok().map(RawJson::from)
}

/// What can be read. One damaged row must not keep everybody else's from being read, so it is only told of.
pub(crate) fn readable<T>(read: Worked<T>) -> Worked<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(Stop::Refused(error)) => {
            tracing::error!(%error, "a row cannot be read and is passed over");
            Ok(None)
        }
        Err(failed) => Err(failed),
    }
}

/// How many rows a statement may return at most.
pub(crate) fn most(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}
