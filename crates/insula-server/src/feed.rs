//! One reader of a log, whatever it is encoded as: batches of events from a cursor, and gaps where there are any.

use std::sync::Arc;

use insula_context::ThreadId;
use insula_engine::{Error, EventStream, StreamItem};
use insula_infra::Event;

use crate::wire::{Gap, GapReason};

/// How far the log may run ahead of a reader that was at its end once, until the reader is told.
const BEHIND: u64 = 512;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    /// An event.
    Event(Event),
    /// What is between is not kept any more, or this reader has fallen behind.
    Gap(Gap),
}

/// Tells a reader when it falls behind. Nothing is lost then: what follows is read from the log.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The reader has been at the end of the log since it was told last.
    caught_up: bool,
}

impl Pace {
    /// Says whether to tell the reader now, which stands behind `cursor` while the log ends at `head`.
    pub(crate) fn falls_behind(&mut self, cursor: u64, head: u64) -> bool {
        let behind = head.saturating_sub(cursor);
        let tell = self.caught_up && behind >= BEHIND;
        self.caught_up = behind == 0 || (self.caught_up && !tell);
        tell
    }
}

/// Puts what was read in the order of the wire: a gap stands before the events behind it.
pub(crate) fn arrange(
    pace: &mut Pace,
    thread: &ThreadId,
    items: Vec<StreamItem>,
    (cursor, head): (u64, u64),
) -> Vec<Next> {
    let mut arranged = Vec::with_capacity(items.len() + 1);
    let falls_behind = pace.falls_behind(cursor, head);
    if let (Some(StreamItem::Event(first)), true) = (items.first(), falls_behind) {
        let (after, next) = (first.seq - 1, first.seq);
        arranged.push(Next::Gap(Gap { thread_id: thread.to_string(), after, next, head, reason: GapReason::Behind }));
    }
    arranged.extend(items.into_iter().map(|item| match item {
        StreamItem::Event(event) => Next::Event(event),
        StreamItem::Gap { after, next } => {
            Next::Gap(Gap { thread_id: thread.to_string(), after, next, head, reason: GapReason::NotKept })
        }
    }));
    arranged
}

/// A reader of one stream.
pub(crate) struct Feed {
    thread: Arc<ThreadId>,
    stream: EventStream,
    pace: Pace,
}

impl Feed {
    /// Reads this stream of a thread.
    pub(crate) fn new(thread: ThreadId, stream: EventStream) -> Self {
        Self { thread: Arc::new(thread), stream, pace: Pace::default() }
    }

    /// What comes next, as much as is there; `None` after a run's end. Waits as long as there is nothing. Cancellation safe.
    ///
    /// # Errors
    /// When the log does not answer; the next call tries again.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Next>>, Error> {
        let Some(items) = self.stream.batch().await? else { return Ok(None) };
        Ok(Some(arrange(&mut self.pace, &self.thread, items, (self.stream.cursor(), self.stream.head()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_replays_is_not_behind_before_it_was_at_the_end_once() {
        let mut pace = Pace::default();
        assert!(!pace.falls_behind(512, 100_000));
        assert!(!pace.falls_behind(100_000, 100_000));
        assert!(pace.falls_behind(100_512, 110_000));
    }

    #[test]
    fn a_reader_is_told_once_until_it_has_caught_up() {
        let mut pace = Pace::default();
        assert!(!pace.falls_behind(10, 10));
        assert!(pace.falls_behind(522, 2_000));
        assert!(!pace.falls_behind(1_034, 2_500), "it knows");
        assert!(!pace.falls_behind(2_500, 2_500));
        assert!(pace.falls_behind(3_012, 9_000), "again");
    }
}
