//! The run queue, on top of `append`, `submit` and `claim`.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunQueue, RunStore, ScheduleRecord, Submitted,
    WorkerId,
};
use tokio::sync::oneshot;

use crate::{
    append::Writing,
    error::Worked,
    store::Store,
    submit::{Placed, Submission},
    transaction::{Kind, Tx},
    writer::Job,
};

/// How often a key is looked at again whose run was deleted meanwhile.
const TRIES: usize = 3;

#[async_trait]
impl RunQueue for Store {
    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        let new = Arc::new(run);
        for _ in 0..TRIES {
            let header = Arc::clone(&new.header);
            let (key, new) = (idempotency_key.map(str::to_owned), Arc::clone(&new));
            let make = |sender| Box::new(Submission { new, key, answer: None, sender }) as Box<dyn Job>;
            let placed = self.writer.ask(&header.scope, Some(&header.thread), make).await?;
            let Placed::Known(known) = placed else { return Ok(Submitted::New) };
            if let Some(record) = self.run(&header.scope, &known).await? {
                return Ok(Submitted::Known(Box::new(record)));
            }
        }
        Err(Error::RunExists { run: new.header.run.clone() })
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        self.take_runs(worker, lease, max, per_owner).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let with = (worker.clone(), now, now.plus(lease));
        self.across("renew", Kind::Write, with, |tx, (worker, now, until)| Box::pin(renew(tx, worker, *now, *until)))
            .await
    }

    fn append(&self, append: Append) -> Commit {
        if let Err(refusal) = append.check() {
            return Commit::ready(Err(refusal));
        }
        let (sender, receiver) = oneshot::channel();
        let header = Arc::clone(&append.lease.header);
        let job = Writing::new(append, self.shared.clock.now(), sender);
        match self.writer.send(&header.scope, Some(&header.thread), Box::new(job)) {
            Ok(()) => Commit::Pending(receiver),
            Err(no_room) => Commit::ready(Err(no_room)),
        }
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        self.read_journal(lease).await
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        self.read_recorded(scope, run).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        self.read_news(worker).await
    }

    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        self.read_due_schedules(max).await
    }

    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        self.move_schedule(scope, name, from, to).await
    }

    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        self.forget_over(before, max).await
    }
}

async fn renew(tx: &mut Tx, worker: &WorkerId, now: Timestamp, until: Timestamp) -> Worked<()> {
    const FORGET: &str = "DELETE FROM insula.workers WHERE worker IN
        (SELECT worker FROM insula.workers WHERE lease_until <= $1 FOR UPDATE SKIP LOCKED)";
    const RENEW: &str = "INSERT INTO insula.workers AS w (worker, lease_until) VALUES ($1, $2)
        ON CONFLICT (worker) DO UPDATE SET lease_until = greatest(w.lease_until, excluded.lease_until)";
    sqlx::query(FORGET).bind(now.as_micros()).execute(tx.on()).await?;
    sqlx::query(RENEW).bind(worker.as_str()).bind(until.as_micros()).execute(tx.on()).await?;
    Ok(())
}
