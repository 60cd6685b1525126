//! The run queue, on top of [`append`](super::append), [`claim`](super::claim) and the line.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, Timestamp, UserScope};

use super::{
    owner::Place,
    shard::lock,
    store::{Shard, Store},
};
use crate::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunHeader, RunQueue, ScheduleRecord, Signals,
    Submitted, WorkerId,
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
        _per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        Ok(self.take(worker, lease, max))
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
            let thread = owner.threads.get(&run.record.header.thread)?;
            let Some((first, last)) = run.span else { return Some(Vec::new()) };
            let own = thread.span(first, last).filter(|(_, event)| event.header.run == header.run);
            let entries = own.map(|(_, event)| JournalEntry {
                kind: event.kind,
                data: Arc::clone(&event.data),
                journal: event.journal.clone(),
            });
            Some(entries.collect())
        })
        .ok_or_else(|| Error::StaleLease { run: header.run.clone(), held: *token })
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        let stops = self.shards.each().flat_map(|shard| stops(&shard, worker));
        Ok(stops.map(|(header, reason)| News { header, stop: Some(reason), answers: Vec::new() }).collect())
    }
    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        Ok(self.read(scope, |owner| {
            let run = owner.run(run)?;
            let thread = owner.threads.get(&run.record.header.thread)?;
            let Some((first, last)) = run.span else { return Some(Vec::new()) };
            let own = thread.span(first, last).filter(|(_, event)| event.header.run == run.record.header.run);
            let entries = own.map(|(_, event)| JournalEntry {
                kind: event.kind,
                data: Arc::clone(&event.data),
                journal: event.journal.clone(),
            });
            Some(entries.collect())
        }))
    }

    async fn due_schedules(&self, _max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        Ok((Vec::new(), self.clock.now()))
    }

    async fn advance_schedule(
        &self,
        _scope: &UserScope,
        _name: &str,
        _from: Timestamp,
        _to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        Err(Error::Unavailable { operation: "advance", component: "not built yet", source: None })
    }

    async fn forget_before(&self, _before: Timestamp, _max: usize) -> Result<usize, Error> {
        Err(Error::Unavailable { operation: "forget", component: "not built yet", source: None })
    }
}

impl Store {
    fn enqueue(&self, run: NewRun, key: Option<&str>) -> Result<Submitted, Error> {
        let (header, available_at) = (Arc::clone(&run.header), run.available_at);
        let mut shard = self.shards.lock(&header.scope);
        let owner = shard.owners.entry(header.scope.clone()).or_default();
        if let Some(known) = key.and_then(|key| owner.keys.get(key)).and_then(|run| owner.runs.get(run)) {
            return Ok(Submitted::Known(Box::new(known.record.clone())));
        }
        owner.admit(run, key)?;
        match available_at.filter(|at| *at > self.clock.now()) {
            Some(at) => self.set_alarm(&header.scope, owner, &header.run, at),
            None => self.make_ready(&header.scope, owner, &header.run),
        }
        Ok(Submitted::New)
    }
}

/// The runs of one shard that this worker holds and that were asked to stop.
fn stops(shard: &Shard, worker: &WorkerId) -> Vec<(Arc<RunHeader>, CancelReason)> {
    let asked = shard.stopping.iter().filter_map(|(scope, run)| shard.owners.get(scope)?.runs.get(run));
    let mine = asked.filter(|run| matches!(&run.place, Place::Held(holder) if holder.worker == *worker));
    mine.filter_map(|run| Some((Arc::clone(&run.record.header), run.record.cancel.clone()?))).collect()
}
