//! `insula run`.

use std::time::Duration;

use insula_context::{CancelReason, Canceller, RandomIds, RunId, ThreadId, UserExecutionContext, UserScope};
use insula_engine::{End, EventStream, ExecutionEngineFactory, Outcome, StreamItem, UserExecutionEngine};
use serde_json::{Value, json};

use super::Desk;
use crate::{
    board::Board,
    cli::RunArgs,
    exit::{Kind, Stop},
    identity, input,
    interrupt::Interrupt,
    view::Progress,
    wiring, words,
};

/// How often the times on the screen go on.
const TICK: Duration = Duration::from_millis(100);

/// Runs an agent on the configured database, shows what its log says, and prints the result.
pub(super) async fn run(desk: &Desk<'_>, args: RunArgs) -> Result<(), Stop> {
    let input = input::read(args.input.as_deref())?;
    let scope = identity::caller(&desk.settings)?;
    let factory = wiring::factory(&desk.settings)?;
    factory.registry().lookup(&args.agent)?;
    let stop = Canceller::new();
    let (context, after) = place(&factory, scope, &args, &stop).await?;
    let engine = factory.create_for_user(&context)?;
    let mut watch = Watch::new(desk, &engine, &context, after, stop);
    let outcome = watch.execute(&engine, &context, &args.agent, input).await?;
    let interrupted = watch.interrupted;
    drop(engine);
    report(desk, &outcome)?;
    match outcome.end {
        End::Completed(_) => Ok(()),
        End::Cancelled(_) if interrupted => Err(ended(&outcome, Kind::Interrupted)),
        _ => Err(ended(&outcome, Kind::Failed)),
    }
}

/// In which conversation and as which run, and where the conversation's log stands.
async fn place(
    factory: &ExecutionEngineFactory,
    scope: UserScope,
    args: &RunArgs,
    stop: &Canceller,
) -> Result<(UserExecutionContext, u64), Stop> {
    let thread = args.thread.as_ref().map(ThreadId::new).transpose()?;
    let run = args.run.as_ref().map(RunId::new).transpose()?;
    let after = match &thread {
        Some(thread) => head(factory, &scope, thread).await?,
        None => 0,
    };
    let thread = thread.unwrap_or_else(|| ThreadId::generate(&RandomIds));
    let run = run.unwrap_or_else(|| RunId::generate(&RandomIds));
    let builder = UserExecutionContext::builder(scope, thread, run).cancellation(stop.cancellation());
    let builder = match args.timeout {
        Some(timeout) => builder.timeout(timeout),
        None => builder,
    };
    Ok((builder.build()?, after))
}

/// The last event of a conversation: what came before is not shown again.
async fn head(factory: &ExecutionEngineFactory, scope: &UserScope, thread: &ThreadId) -> Result<u64, Stop> {
    let page = factory.backend().log.thread_events(scope, thread, 0, 1).await?;
    Ok(page.map_or(0, |page| page.head))
}

/// A run and whoever watches it.
struct Watch {
    events: EventStream,
    board: Board,
    progress: Progress,
    /// Stops the run, also when it has not begun yet.
    stop: Canceller,
    interrupted: bool,
    /// The last look at the log failed; the next one is taken with the next tick.
    blind: bool,
}

impl Watch {
    fn new(
        desk: &Desk<'_>,
        engine: &UserExecutionEngine,
        context: &UserExecutionContext,
        after: u64,
        stop: Canceller,
    ) -> Self {
        Self {
            events: engine.events(context.thread(), after),
            board: Board::new(context.run().clone()),
            progress: Progress::of(context.run(), desk.output),
            stop,
            interrupted: false,
            blind: false,
        }
    }

    /// Runs the agent to its end. A wish to stop becomes the run's cancellation, whose end is waited for.
    async fn execute(
        &mut self,
        engine: &UserExecutionEngine,
        context: &UserExecutionContext,
        agent: &str,
        input: Value,
    ) -> Result<Outcome, Stop> {
        let mut interrupt = Interrupt::listen()?;
        let mut tick = tokio::time::interval(TICK);
        let mut execution = Box::pin(engine.execute_agent(context, agent, input));
        let outcome = loop {
            tokio::select! {
                outcome = &mut execution => break outcome,
                item = self.events.next(), if !self.blind => self.see(item),
                _ = tick.tick() => self.tick(),
                () = interrupt.asked() => self.cancel(),
            }
        };
        self.see_the_rest().await;
        Ok(outcome?)
    }

    fn cancel(&mut self) {
        self.interrupted = true;
        self.stop.cancel(CancelReason::new("user", "interrupted at the terminal"));
    }

    /// A view that cannot read is no reason to stop the run.
    fn see(&mut self, item: Result<Option<StreamItem>, insula_engine::Error>) {
        match item {
            Ok(Some(StreamItem::Event(event))) if self.board.apply(&event).is_some() => self.progress.show(&event),
            Ok(_) => {}
            Err(error) => {
                self.blind = true;
                tracing::warn!(%error, "the run's events cannot be read just now");
            }
        }
    }

    fn tick(&mut self) {
        self.blind = false;
        self.progress.tick();
    }

    /// The end is durable by now: what is still unread is there.
    async fn see_the_rest(&mut self) {
        while let Ok(items) = self.events.ready().await {
            if items.is_empty() {
                break;
            }
            items.into_iter().for_each(|item| self.see(Ok(Some(item))));
        }
        self.progress.finish();
    }
}

fn report(desk: &Desk<'_>, outcome: &Outcome) -> Result<(), Stop> {
    let files = files(desk, outcome);
    if desk.output.json {
        return desk.output.json(&as_json(outcome, &files));
    }
    for file in &files {
        desk.output.note(format!("{} {}", desk.output.notes.green("written"), words::plain(file)));
    }
    match outcome.result() {
        Some(Value::String(text)) if desk.output.results_on_terminal => {
            text.lines().try_for_each(|line| desk.output.line(words::plain(line)))
        }
        Some(Value::String(text)) => desk.output.line(text),
        Some(result) => desk.output.line(serde_json::to_string_pretty(result).unwrap_or_default()),
        None => Ok(()),
    }
}

/// The files that a result names and that are really there.
fn files(desk: &Desk<'_>, outcome: &Outcome) -> Vec<String> {
    let reports = wiring::reports(&desk.settings);
    let named = outcome.result().and_then(|result| result["files"].as_array()).into_iter().flatten();
    let paths = named.filter_map(|file| file["path"].as_str()).map(|path| reports.join(path));
    paths.filter(|path| path.is_file()).map(|path| path.display().to_string()).collect()
}

fn as_json(outcome: &Outcome, files: &[String]) -> Value {
    json!({
        "run_id": outcome.run,
        "thread_id": outcome.thread,
        "agent": outcome.agent,
        "status": outcome.end.status(),
        "reason": outcome.end.reason(),
        "message": outcome.end.message(),
        "result": outcome.result(),
        "usage": outcome.usage,
        "duration_ms": outcome.duration.as_secs_f64() * 1e3,
        "files": files,
    })
}

fn ended(outcome: &Outcome, kind: Kind) -> Stop {
    let what = match outcome.end.reason() {
        "cancelled" => "was cancelled".to_owned(),
        "error" => "failed".to_owned(),
        reason => format!("failed ({reason})"),
    };
    let message = outcome.end.message().unwrap_or_default();
    Stop::new(kind, format!("{} {what}: {message}", outcome.agent))
        .advise(format!("`insula tail {}` shows what happened", outcome.run))
}
