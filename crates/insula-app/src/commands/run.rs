//! `insula run`.

use std::time::Duration;

use futures::StreamExt;
use insula_context::{CancelReason, Canceller, RandomIds, RunId, ThreadId};
use serde_json::{Value, json};

use super::Desk;
use crate::{
    board::Board,
    cli::RunArgs,
    exit::{Kind, Stop},
    input,
    interrupt::Interrupt,
    island::{Event, Outcome, Telling, Told, Wish},
    view::{self, Progress},
    wiring, words,
};

/// How often the times on the screen go on.
const TICK: Duration = Duration::from_millis(100);

/// Runs an agent, shows what its log says, and prints the result.
pub(super) async fn run(desk: &Desk<'_>, args: RunArgs) -> Result<(), Stop> {
    let input = input::read(args.input.as_deref())?;
    let thread = args.thread.map(ThreadId::new).transpose()?;
    let run = args.run.map(RunId::new).transpose()?;
    let timeout = args.timeout;
    wished(desk, Wish { agent: args.agent, input, thread, run, timeout, ..Wish::default() }).await
}

/// As [`run`], for what is known already.
pub(super) async fn wished(desk: &Desk<'_>, wish: Wish) -> Result<(), Stop> {
    let (island, stop) = (desk.island()?, Canceller::new());
    let run = wish.run.clone().unwrap_or_else(|| RunId::generate(&RandomIds));
    let telling = island.run(&run, wish, stop.cancellation()).await?;
    let mut watch = Watch::new(desk, run.as_str(), stop);
    let outcome = watch.follow(telling).await?;
    report(desk, &outcome)?;
    match (&*outcome.status, watch.interrupted) {
        ("completed", _) => Ok(()),
        ("cancelled", true) => Err(ended(&outcome, Kind::Interrupted)),
        _ => Err(ended(&outcome, Kind::Failed)),
    }
}

/// Whoever watches a run.
struct Watch<'a> {
    desk: &'a Desk<'a>,
    board: Board,
    progress: Progress,
    /// Stops the run, also when it has not begun yet.
    stop: Canceller,
    interrupted: bool,
}

impl<'a> Watch<'a> {
    fn new(desk: &'a Desk<'a>, run: &str, stop: Canceller) -> Self {
        let (board, progress) = (Board::new(run), Progress::of(run, desk.output));
        Self { desk, board, progress, stop, interrupted: false }
    }

    /// Watches the run to its end. A wish to stop becomes the run's cancellation, whose end is waited for.
    async fn follow(&mut self, mut telling: Telling<'_>) -> Result<Outcome, Stop> {
        let mut interrupt = Interrupt::listen()?;
        let mut tick = tokio::time::interval(TICK);
        let outcome = loop {
            tokio::select! {
                told = telling.next() => match told {
                    Some(Ok(Told::Ended(outcome))) => break Ok(*outcome),
                    Some(Ok(told)) => self.see(told)?,
                    Some(Err(stop)) => break Err(stop),
                    None => break Err(Stop::failed("nothing is said of how the run ended")),
                },
                _ = tick.tick() => self.progress.tick(),
                () = interrupt.asked() => self.cancel(),
            }
        };
        self.progress.finish();
        outcome
    }

    fn cancel(&mut self) {
        self.interrupted = true;
        self.stop.cancel(CancelReason::new("user", "interrupted at the terminal"));
    }

    fn see(&mut self, told: Told) -> Result<(), Stop> {
        match told {
            Told::Event(event) => {
                let event: Event = event.read()?;
                if self.board.apply(&event).is_some() {
                    self.progress.show(&event);
                }
            }
            Told::Note(note) => view::note(self.desk.output, &note),
            Told::Gap { .. } | Told::Ended(_) => {}
        }
        Ok(())
    }
}

fn report(desk: &Desk<'_>, outcome: &Outcome) -> Result<(), Stop> {
    let files = files(desk, outcome);
    if desk.output.json {
        let mut said = json!(outcome);
        said["files"] = json!(files);
        return desk.output.json(&said);
    }
    for file in &files {
        desk.output.note(format!("{} {}", desk.output.notes.green("written"), words::plain(file)));
    }
    match &outcome.result {
        Some(Value::String(text)) if desk.output.results_on_terminal => {
            text.lines().try_for_each(|line| desk.output.line(words::plain(line)))
        }
        Some(Value::String(text)) => desk.output.line(text),
        Some(result) => desk.output.line(serde_json::to_string_pretty(result).unwrap_or_default()),
        None => Ok(()),
    }
}

/// The files that a result names and that are really there. Those of a server are not.
fn files(desk: &Desk<'_>, outcome: &Outcome) -> Vec<String> {
    if desk.settings.server.is_some() {
        return Vec::new();
    }
    let reports = wiring::reports(&desk.settings);
    let named = outcome.result.as_ref().and_then(|result| result["files"].as_array()).into_iter().flatten();
    let paths = named.filter_map(|file| file["path"].as_str()).map(|path| reports.join(path));
    paths.filter(|path| path.is_file()).map(|path| path.display().to_string()).collect()
}

fn ended(outcome: &Outcome, kind: Kind) -> Stop {
    let what = match &*outcome.reason {
        "cancelled" => "was cancelled".to_owned(),
        "error" => "failed".to_owned(),
        reason => format!("failed ({reason})"),
    };
    let message = outcome.message.as_deref().unwrap_or_default();
    Stop::new(kind, format!("{} {what}: {message}", outcome.agent))
        .advise(format!("`insula tail {}` shows what happened", outcome.run_id))
}
