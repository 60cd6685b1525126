//! The run queue, on top of [`append`](crate::append) and [`claim`](crate::claim).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    Append, Claimed, Commit, Error, JournalEntry, Lease, NewRun, News, RunHeader, RunQueue, RunRecord, RunStatus,
    ScheduleRecord, Submitted, WorkerId,
};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use crate::{
    append::{self, Writing},
    claim,
    error::{File, Stop},
    log,
    rows::{self, Place, Span, Standing, Thread, run_columns},
    store::Store,
    transaction::Tx,
};

#[async_trait]
impl RunQueue for Store {
    async fn submit(&self, run: NewRun, idempotency_key: Option<&str>) -> Result<Submitted, Error> {
        let (now, key) = (self.clock.now(), idempotency_key.map(str::to_owned));
        self.writer
            .call(move |tx| {
                if let Some(known) = known(tx, &run, key.as_deref())? {
                    return Ok(Submitted::Known(Box::new(known)));
                }
                enqueue(tx, &run, key.as_deref(), now)?;
                Ok(Submitted::New)
            })
            .await
    }

    async fn claim(
        &self,
        worker: &WorkerId,
        lease: Duration,
        max: usize,
        _per_owner: usize,
    ) -> Result<Vec<Claimed>, Error> {
        let (now, worker) = (self.clock.now(), worker.clone());
        self.writer.call(move |tx| claim::take(tx, &worker, now, now.plus(lease), max)).await
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

    async fn news(&self, worker: &WorkerId) -> Result<Vec<News>, Error> {
        let (worker, file) = (worker.clone(), self.file.clone());
        let stops = self.readers.read(move |connection| stops(connection, &worker, &file)).await?;
        Ok(stops.into_iter().map(|(header, reason)| News { header, stop: Some(reason), answers: Vec::new() }).collect())
    }
    async fn recorded(&self, _scope: &UserScope, _run: &RunId) -> Result<Option<Vec<JournalEntry>>, Error> {
        Err(Error::Unavailable { operation: "recorded", component: "not built yet", source: None })
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

/// The run that this key made before.
fn known(tx: &mut Tx<'_>, new: &NewRun, key: Option<&str>) -> Result<Option<RunRecord>, Stop> {
    const KNOWN: &str = concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.owner_no = ?1 AND r.idempotency = ?2"
    );
    let Some(key) = key else { return Ok(None) };
    let Some(owner) = tx.owner(&new.header.scope)? else { return Ok(None) };
    let mut select = tx.connection.prepare_cached(KNOWN)?;
    let mut rows = select.query(params![owner.number, key])?;
    rows.next()?.map(|row| rows::record(row, &new.header.scope, tx.file)).transpose()
}

fn enqueue(tx: &mut Tx<'_>, new: &NewRun, key: Option<&str>, now: insula_context::Timestamp) -> Result<(), Stop> {
    let owner = tx.owner_or_new(&new.header.scope)?;
    let mut thread = Thread::find_or_new(tx, owner.number, &new.header.thread)?;
    let later = new.available_at.filter(|at| *at > now);
    let standing = Standing {
        status: RunStatus::Queued.as_str(),
        place: Some(if later.is_some() { Place::Asleep } else { Place::Ready }),
        due_at: later.or(Some(now)),
        ..Standing::default()
    };
    let number = tx.next_run();
    let span = Span { last_at: i64::MIN, ..Span::default() };
    rows::insert_run(tx, number, (&owner, &thread), new, key, &standing, span)?;
    thread.last_run = number;
    thread.keep(tx, &owner, new)?;
    append::keep_payloads(tx, owner.number, new.payload.as_slice())?;
    Ok(())
}

fn journal(connection: &Connection, lease: &Lease, file: &File) -> Result<Vec<JournalEntry>, Stop> {
    let header = &lease.header;
    let run = log::Run::find(connection, &header.scope, &header.run, file)?.filter(|run| run.token == lease.token);
    let Some(run) = run else {
        return Err(Error::StaleLease { run: header.run.clone(), held: lease.token }.into());
    };
    let mut entries = Vec::new();
    for chunk in run.chunks(connection, 0, u64::MAX, file)? {
        for event in chunk.events(file)? {
            let kind = event.kind().ok_or_else(|| chunk.damaged(file, "an event has an unknown type"))?;
            entries.push(JournalEntry { kind, data: event.data(), journal: event.journal() });
        }
    }
    Ok(entries)
}

type Stopping = (Arc<RunHeader>, CancelReason);

fn stops(connection: &Connection, worker: &WorkerId, file: &File) -> Result<Vec<Stopping>, Stop> {
    const STOPS: &str = "SELECT o.tenant_id, o.user_id, t.thread_id, r.run_id, r.parent_run_id, r.agent, r.cancel_by,
            r.cancel_why
        FROM runs r JOIN threads t ON t.thread_no = r.thread_no JOIN owners o ON o.owner_no = r.owner_no
        WHERE r.place = 3 AND r.cancel_by IS NOT NULL AND r.worker = ?1";
    let mut select = connection.prepare_cached(STOPS)?;
    let mut rows = select.query([worker.as_str()])?;
    let mut stops = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |column| row.get::<_, String>(column);
        let damaged = |_| file.corrupt("a run that was asked to stop", "its ids are damaged");
        let parent = row.get::<_, Option<String>>(4)?.map(RunId::new).transpose().map_err(damaged)?;
        let header = RunHeader {
            scope: claim::scope(&text(0)?, &text(1)?, file)?,
            thread: ThreadId::new(text(2)?).map_err(damaged)?,
            run: RunId::new(text(3)?).map_err(damaged)?,
            parent,
            agent: row.get(5)?,
        };
        stops.push((Arc::new(header), CancelReason::new(text(6)?, text(7)?)));
    }
    Ok(stops)
}

/// Records the wish to stop a run.
pub(crate) fn request_cancel(
    tx: &mut Tx<'_>,
    scope: &insula_context::UserScope,
    run: &RunId,
    reason: &CancelReason,
    now: insula_context::Timestamp,
) -> Result<Option<insula_infra::CancelRequest>, Stop> {
    use insula_infra::CancelRequest;
    const FIND: &str = "SELECT run_no, status, place FROM runs WHERE owner_no = ?1 AND run_id = ?2";
    const ASK: &str = "UPDATE runs SET cancel_by = ?2, cancel_why = ?3 WHERE run_no = ?1 AND cancel_by IS NULL";
    const WAKE: &str = "UPDATE runs SET place = 1, due_at = ?2 WHERE run_no = ?1 AND place = 2";
    let Some(owner) = tx.owner(scope)? else { return Ok(None) };
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found = tx.connection.prepare_cached(FIND)?.query_row(params![owner.number, run.as_str()], read).optional()?;
    let Some((number, status, place)): Option<(i64, String, Option<i64>)> = found else { return Ok(None) };
    if place.is_none() {
        let status = RunStatus::parse(&status);
        return status
            .map(|status| Some(CancelRequest::Ended(status)))
            .ok_or_else(|| tx.file.corrupt(format!("run {run} of {scope}"), "its status is damaged").into());
    }
    tx.connection.prepare_cached(ASK)?.execute(params![number, reason.by, reason.why])?;
    tx.connection.prepare_cached(WAKE)?.execute(params![number, now.as_micros()])?;
    Ok(Some(CancelRequest::Recorded))
}
