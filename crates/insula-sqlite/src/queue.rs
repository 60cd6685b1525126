//! The run queue, on top of [`append`](crate::append) and [`claim`](crate::claim).

use std::time::Duration;

use async_trait::async_trait;
use insula_context::{RunId, Timestamp, UserScope};
use insula_infra::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunQueue, ScheduleRecord, Submitted, WorkerId,
};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use crate::{
    append::Writing,
    claim,
    error::{File, Stop},
    log, news, schedules,
    store::Store,
    submit,
};

#[async_trait]
impl RunQueue for Store {
    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        let (now, key) = (self.clock.now(), idempotency_key.map(str::to_owned));
        self.writer.call(move |tx| submit::submit(tx, &run, key.as_deref(), now)).await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let (now, worker) = (self.clock.now(), worker.clone());
        let most = claim::Most { runs: max, per_owner };
        // A claim that is lost with the power was never made: whatever is written under it is durable only together with it.
        self.writer.call_ahead(move |tx| claim::take(tx, &worker, now, now.plus(lease), most)).await
    }

    async fn renew(&self, worker: &WorkerId, lease: Duration) -> Result<(), Error> {
        const FORGET: &str = "DELETE FROM workers WHERE lease_until <= ?1";
        const RENEW: &str = "INSERT INTO workers (worker, lease_until) VALUES (?1, ?2)
            ON CONFLICT DO UPDATE SET lease_until = max(lease_until, excluded.lease_until)";
        let (now, worker) = (self.clock.now(), worker.clone());
        self.writer
            .call(move |tx| {
                tx.connection.prepare_cached(FORGET)?.execute([now.as_micros()])?;
                tx.connection.prepare_cached(RENEW)?.execute(params![worker.as_str(), now.plus(lease).as_micros()])?;
                Ok(())
            })
            .await
    }

    fn append(&self, append: Append) -> Commit {
        if let Err(refusal) = append.check() {
            return Commit::ready(Err(refusal));
        }
        let (sender, receiver) = oneshot::channel();
        let job = Writing::new(append, self.clock.now(), sender, self.writer.counters());
        match self.writer.send(Box::new(job)) {
            Ok(()) => Commit::Pending(receiver),
            Err(no_room) => Commit::ready(Err(no_room)),
        }
    }

    async fn journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        let (lease, file) = (lease.clone(), self.file.clone());
        self.readers.read(move |connection| journal(connection, &lease, &file)).await
    }

    async fn recorded(&self, scope: &UserScope, run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        let (scope, run, file) = (scope.clone(), run.clone(), self.file.clone());
        let read = move |connection: &Connection| {
            let found = log::Run::find(connection, &scope, &run, &file)?;
            found.map(|run| recorded(connection, &run, &file)).transpose()
        };
        self.readers.read(read).await
    }

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        let (worker, file) = (worker.clone(), self.file.clone());
        self.readers.read(move |connection| news::of(connection, &worker, &file)).await
    }

    async fn due_schedules(&self, max: usize) -> Result<(Vec<(UserScope, ScheduleRecord)>, Timestamp), Error> {
        let (now, file) = (self.clock.now(), self.file.clone());
        let due = self.readers.read(move |connection| schedules::due(connection, now, max, &file)).await?;
        Ok((due, now))
    }

    async fn advance_schedule(
        &self,
        scope: &UserScope,
        name: &str,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let (scope, name) = (scope.clone(), name.to_owned());
        self.writer.call(move |tx| schedules::advance(tx, &scope, &name, from, to)).await
    }

    async fn forget_before(&self, before: Timestamp, max: usize) -> Result<usize, Error> {
        self.forget(before, max).await
    }
}

fn journal(connection: &Connection, lease: &Lease, file: &File) -> Result<Vec<JournalEntry>, Stop> {
    let header = &lease.header;
    let run = log::Run::find(connection, &header.scope, &header.run, file)?.filter(|run| run.token == lease.token);
    let Some(run) = run else {
        return Err(Error::StaleLease { run: header.run.clone(), held: lease.token }.into());
    };
    recorded(connection, &run, file)
}

fn recorded(connection: &Connection, run: &log::Run, file: &File) -> Result<Vec<JournalEntry>, Stop> {
    let mut entries = Vec::new();
    for chunk in run.chunks(connection, 0, u64::MAX, file)? {
        for event in chunk.events(file)? {
            let kind = event.kind().ok_or_else(|| chunk.damaged(file, "an event has an unknown type"))?;
            entries.push(JournalEntry { kind, data: event.data(), journal: event.journal() });
        }
    }
    Ok(entries)
}
