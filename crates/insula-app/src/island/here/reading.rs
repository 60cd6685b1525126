//! Reading the log, also beside a process that is writing it.

use std::{collections::VecDeque, time::Duration};

use futures::stream::{self, StreamExt};
use insula_client::Json;
use insula_context::{ThreadId, UserScope};
use insula_engine::{EventStream, StreamItem};
use insula_infra::{Backend, RunRecord};

use super::super::{Patience, Telling, Told};
use crate::exit::Stop;

/// News of a thread does not cross processes, so a reader in another one looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The conversation of a run from its start, because the first events say which children belong to the run.
pub(super) fn tail(backend: Backend, record: RunRecord, patience: Patience) -> Telling<'static> {
    let events = EventStream::thread(&backend, &record.header.scope, &record.header.thread, 0);
    let until = (patience == Patience::ToTheEnd).then_some((backend, record));
    telling(Reading { events, until, ready: VecDeque::new(), has_ended: false })
}

/// What is there of a conversation.
pub(super) fn thread(backend: &Backend, scope: &UserScope, thread: &ThreadId, after: u64) -> Telling<'static> {
    let events = EventStream::thread(backend, scope, thread, after);
    telling(Reading { events, until: None, ready: VecDeque::new(), has_ended: false })
}

fn telling(reading: Reading) -> Telling<'static> {
    let next = async |mut reading: Reading| Ok(reading.next().await?.map(|told| (told, reading)));
    stream::try_unfold(reading, next).boxed()
}

struct Reading {
    events: EventStream,
    /// The run whose end is waited for.
    until: Option<(Backend, RunRecord)>,
    ready: VecDeque<StreamItem>,
    /// The run had ended before the last look at the log: what is read then is all.
    has_ended: bool,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Told>, Stop> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return told(item).map(Some);
            }
            // Asked before the log: what is written in between is then read before the end is believed.
            let has_ended = self.has_ended || self.is_over().await?;
            self.ready = self.events.ready().await?.into();
            if self.ready.is_empty() && has_ended {
                return Ok(None);
            }
            self.has_ended = has_ended;
            if self.ready.is_empty() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    async fn is_over(&self) -> Result<bool, Stop> {
        let Some((backend, record)) = &self.until else { return Ok(true) };
        let record = backend.runs.run(&record.header.scope, &record.header.run).await?;
        Ok(record.is_none_or(|record| record.status.is_terminal()))
    }
}

pub(super) fn told(item: StreamItem) -> Result<Told, Stop> {
    match item {
        StreamItem::Event(event) => Ok(Told::Event(Json::of(&event)?)),
        StreamItem::Gap { after, next } => Ok(Told::Gap { after, next }),
    }
}
