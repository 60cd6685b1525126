//! Wrong queues, with one mistake each.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use insula_context::RunId;
use insula_infra::{
    Append, Backend, Claimed, Commit, Committed, Error, EventType, JournalEntry, Lease, NewRun, News, RunChange,
    RunQueue, Submitted, WorkerId, conformance::QueueLayer,
};
use tokio::sync::oneshot;

enum Mistake {
    Journal,
    Undoing,
    Spent,
    Early(Writing),
    Slow(Writing),
    Timer,
    Question,
    Stop,
    Key,
    Delay,
    /// What was handed out last, and to whom.
    Twice(Mutex<Vec<Claimed>>),
    /// What was handed out once.
    Lost(Mutex<HashSet<RunId>>),
    Deadline,
    Ended,
}

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident = $mistake:expr;)*) => {$(
        $(#[$doc])*
        pub(super) fn $name(backend: Backend) -> Backend {
            let queue = Arc::new(Wrong { inner: Arc::clone(&backend.queue), mistake: $mistake });
            Backend { queue, ..backend }
        }
    )*};
}

mistakes! {
    /// Finished work is not in the journal.
    skips_the_journal = Mistake::Journal;
    /// That a run was being undone is not in the journal.
    forgets_that_it_was_being_undone = Mistake::Undoing;
    /// What a call has cost is not booked.
    forgets_what_was_spent = Mistake::Spent;
    /// An append is durable a moment after it was said to be.
    acknowledges_before_it_writes = Mistake::Early(Writing::default());
    /// An append takes its time.
    is_slow_to_answer = Mistake::Slow(Writing::default());
    /// Who waits for a time waits for ever.
    loses_a_timer = Mistake::Timer;
    /// What is asked is in nobody's inbox.
    forgets_a_question = Mistake::Question;
    /// Who works on a run is not told that it is to stop.
    forgets_a_wish_to_stop = Mistake::Stop;
    /// The same request twice is two runs.
    forgets_the_idempotency_key = Mistake::Key;
    /// A run that was to wait begins at once.
    ignores_the_delay = Mistake::Delay;
    /// A second worker gets what a first one has.
    hands_a_run_to_two_workers = Mistake::Twice(Mutex::default());
    /// A run whose worker was lost is nobody's.
    never_hands_a_lost_run_out = Mistake::Lost(Mutex::default());
    /// A run that is handed out has all the time in the world.
    forgets_the_deadline = Mistake::Deadline;
    /// The end of a run is acknowledged and not kept.
    loses_the_end = Mistake::Ended;
}

struct Wrong {
    inner: Arc<dyn RunQueue>,
    mistake: Mistake,
}

#[async_trait]
impl QueueLayer for Wrong {
    fn inner(&self) -> &Arc<dyn RunQueue> {
        &self.inner
    }

    async fn submit(&self, mut run: NewRun, key: Option<&str>) -> Result<Submitted, Error> {
        if matches!(self.mistake, Mistake::Delay) {
            run.available_at = None;
        }
        let key = key.filter(|_| !matches!(self.mistake, Mistake::Key));
        self.inner.submit(run, key).await
    }

    async fn claim(&self, worker: &WorkerId, lease: Duration, max: usize, per: usize) -> Result<Vec<Claimed>, Error> {
        let mut claimed = self.inner.claim(worker, lease, max, per).await?;
        match &self.mistake {
            Mistake::Deadline => claimed.iter_mut().for_each(|claimed| claimed.deadline = None),
            Mistake::Lost(known) => {
                let mut known = known.lock().unwrap();
                // A parked run that comes back is not a lost one, but nobody here can tell.
                claimed.retain(|claimed| known.insert(claimed.lease.header.run.clone()));
            }
            Mistake::Twice(last) => {
                let mut last = last.lock().unwrap();
                let others: Vec<_> = last.extract_if(.., |claimed| claimed.lease.worker != *worker).collect();
                last.extend(claimed.iter().cloned());
                claimed.extend(others);
            }
            _ => {}
        }
        Ok(claimed)
    }

    fn append(&self, mut append: Append) -> Commit {
        match &self.mistake {
            Mistake::Spent => append.spent.clear(),
            Mistake::Question => append.asks.clear(),
            Mistake::Timer => {
                if let Some(RunChange::Waiting { until, .. }) = &mut append.change {
                    *until = None;
                }
            }
            Mistake::Ended if append.change.as_ref().is_some_and(|change| change.status().is_terminal()) => {
                return Commit::ready(Ok(Committed { head: append.after + append.events.len() as u64 }));
            }
            Mistake::Early(writing) => {
                let head = append.after + append.events.len() as u64;
                drop(writing.later(&self.inner, append));
                return Commit::ready(Ok(Committed { head }));
            }
            Mistake::Slow(writing) => return Commit::Pending(writing.later(&self.inner, append)),
            _ => {}
        }
        self.inner.append(append)
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        let mut journal = self.inner.journal(lease).await?;
        let is_finished = |kind| matches!(kind, EventType::StepCompleted | EventType::ToolCompleted);
        match self.mistake {
            Mistake::Journal => journal.retain(|entry| !is_finished(entry.kind)),
            Mistake::Undoing => journal.retain(|entry| entry.kind != EventType::AgentUndoing),
            _ => {}
        }
        Ok(journal)
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        let mut news = self.inner.news(worker).await?;
        if matches!(self.mistake, Mistake::Stop) {
            news.iter_mut().for_each(|news| news.stop = None);
        }
        Ok(news)
    }
}

/// Appends on their way, in order.
#[derive(Default)]
struct Writing(Arc<tokio::sync::Mutex<()>>);

impl Writing {
    /// Writes it when its time has come: what comes later is written later.
    fn later(&self, queue: &Arc<dyn RunQueue>, append: Append) -> oneshot::Receiver<Result<Committed, Error>> {
        let (queue, line) = (Arc::clone(queue), Arc::clone(&self.0));
        let (answer, receiver) = oneshot::channel();
        tokio::spawn(async move {
            // Tasks begin in the order in which they were made, and the lock is fair.
            let _turn = line.lock().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _nobody_waits = answer.send(queue.append(append).await);
        });
        receiver
    }
}
