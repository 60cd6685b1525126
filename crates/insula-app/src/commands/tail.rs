//! `insula tail`.

use futures::TryStreamExt;
use insula_client::Json;
use insula_context::RunId;
use serde_json::json;

use super::{Desk, no_run};
use crate::{
    board::Board,
    cli::TailArgs,
    exit::{Kind, Stop},
    interrupt::Interrupt,
    island::{Event, Patience, Told},
    output::Output,
    view,
};

/// Prints the events of a run and of its children; with `--follow`, until the run ends.
pub(super) async fn tail(desk: &Desk<'_>, args: TailArgs) -> Result<(), Stop> {
    let (island, run) = (desk.island()?, RunId::new(&args.run)?);
    let patience = if args.follow { Patience::ToTheEnd } else { Patience::WhatIsThere };
    let Some(mut telling) = island.tail(&run, patience).await? else { return Err(no_run(&*island, &run).await) };
    let mut interrupt = Interrupt::listen()?;
    // Which runs belong to the one that was asked for.
    let mut board = Board::new(run.as_str());
    let read = async {
        while let Some(told) = telling.try_next().await? {
            print(desk.output, told, args.after, |event| board.apply(event).is_some())?;
        }
        Ok(())
    };
    tokio::select! {
        read = read => read,
        // There is nothing to cancel: whoever reads has read enough.
        () = interrupt.asked() => Err(Stop::silently(Kind::Interrupted)),
    }
}

/// Prints what a log says behind a place, of the events that are wanted.
pub(super) fn print(
    output: &Output,
    told: Told,
    after: u64,
    mut is_wanted: impl FnMut(&Event) -> bool,
) -> Result<(), Stop> {
    match told {
        Told::Event(said) => {
            let event: Event = said.read()?;
            let is_wanted = is_wanted(&event);
            if is_wanted && event.seq > after { line(output, &said, &event) } else { Ok(()) }
        }
        Told::Gap { next, .. } if next <= after => Ok(()),
        Told::Gap { after, next } if output.json => output.json(&json!({"gap": {"after": after, "next": next}})),
        Told::Gap { after, next } => output.line(format!("events {} to {} are not kept any more", after + 1, next - 1)),
        Told::Note(note) => {
            view::note(output, &note);
            Ok(())
        }
        Told::Ended(_) => Ok(()),
    }
}

fn line(output: &Output, said: &Json, event: &Event) -> Result<(), Stop> {
    if output.json {
        return output.json(said);
    }
    output.line(view::event_line_with_place(event, output, output.results))
}
