//! `insula tail`: reads the log, also beside a process that is writing it.

use std::time::Duration;

use insula_context::RunId;
use insula_engine::{EventStream, StreamItem};
use insula_infra::{Backend, RunRecord};
use serde_json::json;

use super::{Desk, absent};
use crate::{
    board::Board,
    cli::TailArgs,
    exit::{Kind, Stop},
    identity,
    interrupt::Interrupt,
    view, wiring,
};

/// News of a thread does not cross processes, so a reader in another one looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Prints the events of a run and of its children; with `--follow`, until the run ends.
pub(super) async fn tail(desk: &Desk<'_>, args: TailArgs) -> Result<(), Stop> {
    let scope = identity::caller(&desk.settings)?;
    let run = RunId::new(&args.run)?;
    let backend = wiring::existing(&desk.settings)?.ok_or_else(|| absent(&scope, &run))?;
    let record = backend.runs.run(&scope, &run).await?.ok_or_else(|| absent(&scope, &run))?;
    let mut reader = Reader::new(desk, &backend, &record);
    let mut interrupt = Interrupt::listen()?;
    tokio::select! {
        read = reader.read(args.after, args.follow) => read,
        // There is nothing to cancel: whoever reads has read enough.
        () = interrupt.asked() => Err(Stop::silently(Kind::Interrupted)),
    }
}

struct Reader<'a> {
    desk: &'a Desk<'a>,
    backend: &'a Backend,
    record: &'a RunRecord,
    /// Which runs belong to the one that was asked for.
    board: Board,
}

impl<'a> Reader<'a> {
    fn new(desk: &'a Desk<'a>, backend: &'a Backend, record: &'a RunRecord) -> Self {
        Self { desk, backend, record, board: Board::new(record.header.run.clone()) }
    }

    async fn read(&mut self, after: u64, follow: bool) -> Result<(), Stop> {
        let header = &self.record.header;
        // From the start, because the first events say which children belong to the run.
        let mut stream = EventStream::thread(self.backend, &header.scope, &header.thread, 0);
        loop {
            // Asked before the log: what is written in between is then read before the end is believed.
            let has_ended = !follow || self.has_ended().await?;
            let mut items = stream.ready().await?;
            while !items.is_empty() {
                items.into_iter().try_for_each(|item| self.print(item, after))?;
                items = stream.ready().await?;
            }
            if has_ended {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn has_ended(&self) -> Result<bool, Stop> {
        let header = &self.record.header;
        let record = self.backend.runs.run(&header.scope, &header.run).await?;
        Ok(record.is_none_or(|record| record.status.is_terminal()))
    }

    fn print(&mut self, item: StreamItem, after: u64) -> Result<(), Stop> {
        let output = self.desk.output;
        match item {
            StreamItem::Event(event) if self.board.apply(&event).is_none() || event.seq <= after => Ok(()),
            StreamItem::Event(event) if output.json => output.json(&event),
            StreamItem::Event(event) => output.line(view::event_line_with_place(&event, output, output.results)),
            StreamItem::Gap { next, .. } if next <= after => Ok(()),
            StreamItem::Gap { after, next } if output.json => {
                output.json(&json!({"gap": {"after": after, "next": next}}))
            }
            StreamItem::Gap { after, next } => {
                output.line(format!("events {} to {} are not kept any more", after + 1, next - 1))
            }
        }
    }
}
