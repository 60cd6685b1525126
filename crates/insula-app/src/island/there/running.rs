//! A run on a server, watched from here.

use futures::stream::{self, StreamExt};
use insula_client::{Client, Events, Item};
use insula_context::{CancelReason, Cancellation, RunId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::{Event, Outcome, Run, Telling, Told, Wish},
    reading::{Log, told},
    refusals::{absent, for_agent},
};
use crate::exit::Stop;

/// Hands a run in, and tells what happens to it until it has ended. It goes on when nobody listens.
pub(super) fn run(client: Client, wish: Wish, run: RunId, stop: Cancellation) -> Telling<'static> {
    let state = State::Wished(Box::new(wish));
    let following = Following { client, run, stop, is_stopped: false, used: Used::default(), state };
    let next = async |mut following: Following| Ok(following.next().await?.map(|told| (told, following)));
    stream::try_unfold(following, next).boxed()
}

struct Following {
    client: Client,
    run: RunId,
    stop: Cancellation,
    /// The server was asked to stop it.
    is_stopped: bool,
    used: Used,
    state: State,
}

enum State {
    Wished(Box<Wish>),
    Begun(Box<Events>, String),
    /// Its last event, and what was said behind that.
    Ended(Box<Event>, Box<Log>),
    Told,
}

/// What its events tell of what it used.
#[derive(Default)]
struct Used {
    tool_calls: u64,
    steps: u64,
    events: u64,
}

impl Following {
    async fn next(&mut self) -> Result<Option<Told>, Stop> {
        loop {
            match &mut self.state {
                State::Wished(wish) => {
                    let (events, thread) = begin(&self.client, wish).await?;
                    self.state = State::Begun(Box::new(events), thread);
                }
                State::Begun(events, _) => tokio::select! {
                    item = events.next() => return self.heard(item?).map(Some),
                    reason = self.stop.cancelled(), if !self.is_stopped => self.cancel(reason).await?,
                },
                State::Ended(last, log) => {
                    if let Some(told) = log.next().await? {
                        return Ok(Some(told));
                    }
                    let outcome = outcome(&self.client, &self.run, last, &self.used).await?;
                    self.state = State::Told;
                    return Ok(Some(Told::Ended(Box::new(outcome))));
                }
                State::Told => return Ok(None),
            }
        }
    }

    fn heard(&mut self, item: Option<Item>) -> Result<Told, Stop> {
        let item = item.ok_or_else(|| Stop::failed(format!("the server says nothing more of run {}", self.run)))?;
        if let Item::Event { seq, event } = &item {
            let event: Event = event.read()?;
            if event.run_id == self.run.as_str() {
                self.used.count(&event);
            }
            if event.ends(self.run.as_str())
                && let State::Begun(_, thread) = &self.state
            {
                let log = Log::new(&self.client, thread.clone(), *seq);
                self.state = State::Ended(Box::new(event), Box::new(log));
            }
        }
        Ok(told(item))
    }

    async fn cancel(&mut self, reason: CancelReason) -> Result<(), Stop> {
        self.is_stopped = true;
        let cancelled = self.client.cancel(self.run.as_str(), &reason.why).await;
        let goes_on = |stop: Stop| Stop { message: format!("run {} goes on: {}", self.run, stop.message), ..stop };
        cancelled.map(drop).map_err(|error| goes_on(error.into()))
    }
}

/// Hands it in. What came before in its conversation is not told again.
async fn begin(client: &Client, wish: &Wish) -> Result<(Events, String), Stop> {
    #[derive(Deserialize)]
    struct Head {
        head: u64,
    }
    let known = match &wish.thread {
        Some(thread) => absent(client.get(&["threads", thread.as_str()], &[]).await)?,
        None => None,
    };
    let after = known.map(|known| known.read::<Head>()).transpose()?.map_or(0, |known| known.head);
    let submitted = client.submit(&wish.body(), wish.key.as_deref()).await;
    let run: Run = submitted.map_err(|error| for_agent(error, wish))?.read()?;
    let events = client.follow(&["threads", &run.thread_id, "events"], after)?;
    Ok((events, run.thread_id))
}

impl Used {
    fn count(&mut self, event: &Event) {
        self.events += 1;
        match &*event.word {
            "tool_executing" => self.tool_calls += 1,
            "step_completed" => self.steps += 1,
            _ => {}
        }
    }
}

/// What its last event and its record say of it.
async fn outcome(client: &Client, run: &RunId, last: &Event, used: &Used) -> Result<Outcome, Stop> {
    let run: Run = client.get(&["runs", run.as_str()], &[]).await?.read()?;
    let text = |key: &str| last.data[key].as_str().map(str::to_owned);
    let (reason, message) = match (run.failure, run.cancel) {
        (Some(failure), _) => (failure.reason.as_str().to_owned(), Some(failure.message)),
        (_, Some(cancel)) if run.status == insula_infra::RunStatus::Cancelled => {
            ("cancelled".to_owned(), Some(cancel.to_string()))
        }
        _ => (run.status.as_str().to_owned(), text("message")),
    };
    let Used { tool_calls, steps, events } = used;
    let counted = json!({"tool_calls": tool_calls, "steps": steps, "events": events});
    let usage = &last.data["usage"];
    Ok(Outcome {
        run_id: run.run_id,
        thread_id: run.thread_id,
        agent: run.agent,
        status: run.status.as_str().to_owned(),
        reason,
        message,
        result: run.result,
        usage: if *usage == Value::Null { counted } else { usage.clone() },
        duration_ms: last.data["duration_ms"].as_f64().unwrap_or_default(),
    })
}
