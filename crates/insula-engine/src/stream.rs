//! A reader with a cursor. It follows the log; a lost signal costs it time and never an event.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use insula_context::{RunId, ThreadId, UserScope};
use insula_infra::{Backend, Event, EventLog, EventPage, RunStore, ThreadWatch};

use crate::Error;

/// How many events are read at once.
const PAGE: usize = 512;
/// How long a lost signal can delay a reader.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a reader is given.
#[derive(Debug, Clone)]
pub enum StreamItem {
    /// The next event.
    Event(Event),
    /// Events after the cursor are not kept any more; reading goes on behind them.
    Gap {
        /// The last `seq` before the gap.
        after: u64,
        /// The first `seq` behind it.
        next: u64,
    },
}

/// The events of a thread or of one run, from a cursor, in order, each once. It holds no event back and no memory for a
/// reader that is slow: what was not read stays in the log.
pub struct EventStream {
    log: Arc<dyn EventLog>,
    runs: Arc<dyn RunStore>,
    watch: ThreadWatch,
    scope: UserScope,
    thread: ThreadId,
    only: Option<RunId>,
    cursor: u64,
    head: u64,
    read: VecDeque<Event>,
    /// The run was forgotten before its end was read.
    forgotten: bool,
    ended: bool,
}

impl EventStream {
    /// The events of a thread with `seq > after`, and those that follow. It never ends.
    pub fn thread(backend: &Backend, scope: &UserScope, thread: &ThreadId, after: u64) -> Self {
        Self {
            log: Arc::clone(&backend.log),
            runs: Arc::clone(&backend.runs),
            // Before the first read: what is written in between is told.
            watch: backend.signals.watch(scope, thread),
            scope: scope.clone(),
            thread: thread.clone(),
            only: None,
            cursor: after,
            head: 0,
            read: VecDeque::new(),
            forgotten: false,
            ended: false,
        }
    }

    /// The events of one run with `seq > after`, until its terminal one. `None` when there is no such run.
    pub(crate) async fn run(
        backend: &Backend,
        scope: &UserScope,
        run: &RunId,
        after: u64,
    ) -> Result<Option<Self>, Error> {
        let Some(record) = backend.runs.run(scope, run).await? else { return Ok(None) };
        let stream = Self::thread(backend, scope, &record.header.thread, after);
        Ok(Some(Self { only: Some(run.clone()), ..stream }))
    }

    /// The `seq` of the last event that was given out: where to go on after a break.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The `seq` of the thread's last event when the log was read last, or 0 before that: how far a reader is behind.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The next item; `None` after a run's terminal event. Waits as long as there is none. Cancellation safe.
    ///
    /// # Errors
    /// [`Error::Storage`] when the log does not answer; the next call tries again.
    pub async fn next(&mut self) -> Result<Option<StreamItem>, Error> {
        loop {
            if let Some(item) = self.next_read() {
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            let (items, ended) = self.look().await?;
            if items || ended {
                self.ended |= ended;
                continue;
            }
            // Both ways out are the same: look again.
            let _ = tokio::time::timeout(LOOK_AGAIN, self.watch.changed()).await;
        }
    }

    /// Reads what is there, without waiting for more: up to one page.
    ///
    /// # Errors
    /// [`Error::Storage`] when the log does not answer.
    pub async fn ready(&mut self) -> Result<Vec<StreamItem>, Error> {
        if self.read.is_empty() && !self.ended {
            self.ended = self.look().await?.1;
        }
        Ok(std::iter::from_fn(|| self.next_read()).collect())
    }

    fn next_read(&mut self) -> Option<StreamItem> {
        if std::mem::take(&mut self.forgotten) {
            return Some(StreamItem::Gap { after: self.cursor, next: self.cursor + 1 });
        }
        while let Some(event) = self.read.pop_front() {
            // A thread's `seq` has no gaps, so a jump means that what was between is not kept any more.
            if event.seq > self.cursor + 1 {
                let gap = StreamItem::Gap { after: self.cursor, next: event.seq };
                self.cursor = event.seq - 1;
                self.read.push_front(event);
                return Some(gap);
            }
            self.cursor = event.seq;
            match &self.only {
                Some(run) if event.header.run != *run => {}
                Some(_) => {
                    self.ended |= event.kind.is_terminal();
                    return Some(StreamItem::Event(event));
                }
                None => return Some(StreamItem::Event(event)),
            }
        }
        None
    }

    /// Reads the next page. Says whether something came, and whether a run that is over has no more.
    async fn look(&mut self) -> Result<(bool, bool), Error> {
        self.read_page().await?;
        if !self.read.is_empty() {
            return Ok((true, false));
        }
        let Some(run) = &self.only else { return Ok((false, false)) };
        let record = self.runs.run(&self.scope, run).await?;
        if record.as_ref().is_some_and(|record| !record.status.is_terminal()) {
            return Ok((false, false));
        }
        // Ended, but perhaps between the two looks.
        self.read_page().await?;
        let nothing = self.read.is_empty();
        self.forgotten = nothing && record.is_none();
        Ok((!nothing || self.forgotten, nothing))
    }

    async fn read_page(&mut self) -> Result<(), Error> {
        let page = self.log.thread_events(&self.scope, &self.thread, self.cursor, PAGE).await?;
        if let Some(EventPage { events, head, .. }) = page {
            self.read.extend(events);
            self.head = head;
        }
        Ok(())
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("thread", &self.thread).field("cursor", &self.cursor).finish()
    }
}
