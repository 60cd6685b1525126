//! The run queue, on top of [`append`](super::append), [`claim`](super::claim) and the line.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};

use super::{
    owner::{Owner, Place, Run},
    shard::lock,
    store::{Shard, Store},
    thread::Logged,
};
use crate::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunQueue, ScheduleRecord, Signals, Submitted,
    WorkerId,
};

#[async_trait]
impl RunQueue for Store {
    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        self.enqueue(run, idempotency_key)
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        Ok(self.take(worker, lease, max, per_owner))
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        let now = self.clock.now();
        let mut workers = lock(&self.workers);
        workers.retain(|_, until| *until > now);
        let until = workers.entry(worker.clone()).or_insert(now);
        *until = now.plus(lease).max(*until);
        Ok(())
    }

    fn append(&self, append: Append) -> Commit {
        let grows = !append.events.is_empty();
        let header = Arc::clone(&append.lease.header);
        let answer = self.write(append);
        if let (true, Ok(committed)) = (grows, &answer) {
            self.signals.advanced(&header.scope, &header.thread, committed.head);
        }
        Commit::ready(answer)
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        let Lease { header, token, .. } = lease;
        self.read(&header.scope, |owner| {
            let run = owner.runs.get(&header.run).filter(|run| run.token == *token)?;
            Some(owner.journal(run))
        })
        .ok_or_else(|| Error::StaleLease { run: header.run.clone(), held: *token })
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        Ok(self.shards.each().flat_map(|shard| news(&shard, worker)).collect())
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        Ok(self.read(scope, |owner| Some(owner.journal(owner.run(run)?))))
    }

    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        let now = self.clock.now();
        Ok((self.due(max, now), now))
    }

    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        Ok(self.advance(scope, name, from, to))
    }

    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        Ok(self.forget_older(before, max))
    }
}

impl Owner {
    /// What was recorded of one of its runs.
    fn journal(&self, run: &Run) -> Vec<JournalEntry> {
        let Some(thread) = self.threads.get(&run.record.header.thread) else { return Vec::new() };
        let (first, last) = run.span.unwrap_or((1, 0));
        let own = thread.span(first, last).filter(|(_, event)| event.header.run == run.record.header.run);
        let entry = |(_, event): (u64, &Logged)| {
            let (kind, data, journal) = (event.kind, Arc::clone(&event.data), event.journal.clone());
            JournalEntry { kind, data, journal }
        };
        own.map(entry).collect()
    }
}

/// What is wanted of the runs of one shard that this worker holds.
fn news(shard: &Shard, worker: &WorkerId) -> Vec<News> {
    let wanted = shard.wanted.iter().filter_map(|(scope, run)| shard.owners.get(scope)?.runs.get(run));
    let mine = wanted.filter(|run| matches!(&run.place, Place::Held(holder) if holder.worker == *worker));
    let told = mine.map(|run| {
        let (stop, answers) = (run.record.cancel.clone(), run.answers());
        News { header: Arc::clone(&run.record.header), stop, answers }
    });
    told.collect()
}
