//! A run in this process.

use std::{collections::VecDeque, time::Duration};

use futures::{
    future::BoxFuture,
    stream::{self, StreamExt},
};
use insula_context::{Cancellation, RandomIds, RunId, ThreadId, UserExecutionContext, UserScope};
use insula_engine::{EventStream, ExecutionEngineFactory, StreamItem};
use serde_json::json;

use super::{
    super::{Outcome, Telling, Told, Wish},
    reading,
};
use crate::exit::Stop;

/// After a look at the log that failed, how long to the next one.
const BLIND: Duration = Duration::from_millis(100);

/// Runs an agent to its end, and tells what its log says meanwhile.
///
/// # Errors
/// When it cannot begin.
pub(super) async fn run(
    factory: &ExecutionEngineFactory,
    scope: UserScope,
    run: &RunId,
    wish: Wish,
    stop: Cancellation,
) -> Result<Telling<'static>, Stop> {
    factory.registry().lookup(&wish.agent)?;
    let after = match &wish.thread {
        // What came before is not shown again.
        Some(thread) => head(factory, &scope, thread).await?,
        None => 0,
    };
    let context = context(scope, run, &wish, stop)?;
    let engine = factory.create_for_user(&context)?;
    let events = engine.events(context.thread(), after);
    let execution = Box::pin(async move { Ok(engine.execute_agent(&context, &wish.agent, wish.input).await?) });
    let running = Running { state: State::Running(execution), events, ready: VecDeque::new() };
    let next = async |mut running: Running| Ok(running.next().await?.map(|told| (told, running)));
    Ok(stream::try_unfold(running, next).boxed())
}

/// In which conversation, and for how long.
fn context(scope: UserScope, run: &RunId, wish: &Wish, stop: Cancellation) -> Result<UserExecutionContext, Stop> {
    let thread = wish.thread.clone().unwrap_or_else(|| ThreadId::generate(&RandomIds));
    let builder = UserExecutionContext::builder(scope, thread, run.clone()).cancellation(stop);
    let builder = match wish.timeout {
        Some(timeout) => builder.timeout(timeout),
        None => builder,
    };
    Ok(builder.build()?)
}

/// The last event of a conversation.
async fn head(factory: &ExecutionEngineFactory, scope: &UserScope, thread: &ThreadId) -> Result<u64, Stop> {
    let page = factory.backend().log.thread_events(scope, thread, 0, 1).await?;
    Ok(page.map_or(0, |page| page.head))
}

struct Running {
    state: State,
    events: EventStream,
    ready: VecDeque<StreamItem>,
}

enum State {
    Running(BoxFuture<'static, Result<insula_engine::Outcome, Stop>>),
    /// The end is durable: what is still unread is there.
    Ended(Box<Outcome>),
    Told,
}

impl Running {
    async fn next(&mut self) -> Result<Option<Told>, Stop> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return reading::told(item).map(Some);
            }
            match &mut self.state {
                State::Running(execution) => tokio::select! {
                    outcome = execution => self.state = State::Ended(Box::new(ended(outcome?))),
                    item = seen(&mut self.events) => self.ready.extend(item),
                },
                State::Ended(_) => {
                    self.ready = self.events.ready().await.unwrap_or_default().into();
                    if self.ready.is_empty()
                        && let State::Ended(outcome) = std::mem::replace(&mut self.state, State::Told)
                    {
                        return Ok(Some(Told::Ended(outcome)));
                    }
                }
                State::Told => return Ok(None),
            }
        }
    }
}

/// A view that cannot read is no reason to stop the run.
async fn seen(events: &mut EventStream) -> Option<StreamItem> {
    match events.next().await {
        Ok(item) => item,
        Err(error) => {
            tracing::warn!(%error, "the run's events cannot be read just now");
            tokio::time::sleep(BLIND).await;
            None
        }
    }
}

fn ended(outcome: insula_engine::Outcome) -> Outcome {
    Outcome {
        run_id: outcome.run.to_string(),
        thread_id: outcome.thread.to_string(),
        status: outcome.end.status().as_str().to_owned(),
        reason: outcome.end.reason().to_owned(),
        message: outcome.end.message(),
        result: outcome.result().cloned(),
        usage: json!(outcome.usage),
        duration_ms: outcome.duration.as_secs_f64() * 1e3,
        agent: outcome.agent,
    }
}
