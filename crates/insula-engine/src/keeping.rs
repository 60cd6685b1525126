//! What becomes of conversations after their runs: run again, branched off, deleted, forgotten.

use std::time::Duration;

use insula_context::{CancelReason, Deadline, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{Deleted, Fork, ThreadRecord};

use crate::{Error, ExecutionEngineFactory, RunRequest, platform::Platform};

/// How often threads are looked for whose time is over.
pub(crate) const LOOK: Duration = Duration::from_secs(60);

/// How many threads go in one write.
const BATCH: usize = 100;

impl ExecutionEngineFactory {
    /// Submits a run again: the same agent, the same input, in the same thread, on the version that is here now. Says the
    /// new run's id; `None` when there is no such run.
    ///
    /// # Errors
    /// [`Error::NotEnded`] while it has not ended, and those of [`ExecutionEngineFactory::submit`].
    pub async fn retry(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunId>, Error> {
        let Some(record) = self.platform.backend.runs.run(scope, run).await? else { return Ok(None) };
        if !record.status.is_terminal() {
            return Err(Error::NotEnded { run: run.clone(), status: record.status });
        }
        let input = self.whole(scope, &record.input).await?;
        let request = RunRequest::new(&*record.header.agent, input).thread(record.header.thread.clone());
        self.submit(scope, request).await.map(Some)
    }

    /// Makes a thread that begins with the first `seq` events of another, which are not copied, under this id or a fresh
    /// one. Each goes on by itself. `None` when there is no such thread, or it has fewer events.
    ///
    /// # Errors
    /// [`Error::Storage`], among others when there is a thread of the new name.
    pub async fn fork(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        seq: u64,
        into: Option<ThreadId>,
    ) -> Result<Option<ThreadRecord>, Error> {
        let platform = &self.platform;
        let into = into.unwrap_or_else(|| ThreadId::generate(&*platform.ids));
        let fork = Fork { thread_id: thread.clone(), seq };
        Ok(platform.backend.runs.fork_thread(scope, &fork, &into, platform.clock.now()).await?)
    }

    /// Deletes a thread with everything in it. `None` when there is no such thread.
    ///
    /// # Errors
    /// [`Error::Storage`], among others while a run of it has not ended, or another thread begins with its log.
    pub async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        Ok(self.platform.backend.runs.delete_thread(scope, thread).await?)
    }

    /// Deletes everything of a user: runs under way are stopped first, then threads, state, schedules and accounts go, then
    /// the user's cache and the user's own database. A process that is working on a run of this user elsewhere is refused
    /// with its next write.
    ///
    /// # Errors
    /// [`Error::Storage`]; what was deleted before it stays deleted, and the next call goes on.
    pub async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        let (platform, reason) = (&self.platform, CancelReason::new("operator", "the user was deleted"));
        self.clean_up_user(scope);
        self.stop_all(scope, &reason).await;
        let deleted = platform.backend.runs.delete_user(scope).await?;
        if let Some(cache) = &platform.backend.cache {
            cache.clear(scope).await?;
        }
        if let Some(database) = &platform.backend.database {
            database.forget_user(scope).await?;
        }
        Ok(deleted)
    }

    /// Stops the runs of this user that this process holds, and gives them the grace time to end. Whoever is not gone by
    /// then is refused by the log.
    async fn stop_all(&self, scope: &UserScope, reason: &CancelReason) {
        let platform = &self.platform;
        for run in platform.live.of(scope) {
            platform.live.cancel(scope, &run, reason.clone());
        }
        let deadline = Deadline::after(platform.limits().grace * 2);
        while !platform.live.of(scope).is_empty() && !deadline.has_passed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Forgets threads whose last run ended longer ago than things are kept.
pub(crate) async fn forget_old(platform: &Platform) {
    let Some(keep) = platform.limits().retention else { return };
    let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
    let before = Timestamp::from_micros(platform.clock.now().as_micros().saturating_sub(keep));
    loop {
        match platform.backend.queue.forget_before(before, BATCH).await {
            Ok(forgotten) if forgotten == BATCH => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, "old threads could not be forgotten");
                return;
            }
        }
    }
}
