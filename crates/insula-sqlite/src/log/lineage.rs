//! Where a fork's log is read from: its own chunks, and the beginnings of the threads that it branched off from.

use rusqlite::{Connection, OptionalExtension};

use super::Thread;
use crate::error::{File, Stop};

/// The part of a log that lies in one thread.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) thread: Thread,
    /// The last event of this thread that belongs to the log.
    pub(super) upto: u64,
}

/// The parts of a thread's log with events after `after`, oldest first. Forks of forks may be many, so this is a loop.
pub(super) fn parts(connection: &Connection, thread: Thread, after: u64, file: &File) -> Result<Vec<Part>, Stop> {
    const BASE: &str = "SELECT thread_no, head, last_pos, base_no, base_seq FROM threads WHERE thread_no = ?1";
    let mut parts = vec![Part { thread, upto: u64::MAX }];
    while let Some(Part { thread, upto }) = parts.last().filter(|part| after < part.thread.base_seq) {
        let upto = thread.base_seq.min(*upto);
        let base = connection.prepare_cached(BASE)?.query_row([thread.base], Thread::read).optional()?;
        let missing = || file.corrupt(thread.place(Some(upto)), "the thread that it branched off from is missing");
        let thread = base.ok_or_else(missing)?;
        parts.push(Part { thread, upto });
    }
    parts.reverse();
    Ok(parts)
}
