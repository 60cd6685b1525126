//! The main file: what all ports on it have in common.

use std::{fmt, sync::Arc};

use insula_context::Clock;

use crate::{error::File, readers::Readers, writer::Writer};

/// One main file with its writer and its readers.
pub(crate) struct Store {
    pub(crate) file: File,
    pub(crate) clock: Arc<dyn Clock>,
    /// Before the readers, because fields are dropped in order: the last connection to close tidies up.
    pub(crate) writer: Writer,
    pub(crate) readers: Readers,
    /// Held by whoever deletes: each counts what went by its own doing.
    pub(crate) deleting: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.file.name()).field("writer", &self.writer).finish_non_exhaustive()
    }
}
