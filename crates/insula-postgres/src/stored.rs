//! Lists over all owners: how long they are, and what becomes of a row that cannot be read.

use crate::error::{Stop, Worked};

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
