//! Commands done on the database of this machine.

mod account;
mod reading;
mod running;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use insula_client::{Json, Page};
use insula_context::{CancelReason, Cancellation, RunId, ThreadId, UserScope};
use insula_engine::{AnswerTo, ExecutionEngineFactory, Export, Part, RunRequest, Schedule};
use insula_infra::{Backend, Deleted, PageRequest, RunFilter};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Filter, Island, Patience, RunFile, Telling, Turn, Wish, Words};
use crate::{catalog, config::Settings, exit::Stop, identity, wiring};

/// The database that the settings name, for the user that they name.
pub(crate) struct Here {
    settings: Settings,
}

const WORDS: Words = Words {
    whose: "--user and --tenant say whose, --data-dir where",
    picked_up: "whoever works on the queue picks it up: `insula work`",
    obeyed: "whoever holds it stops it; if nobody does, whoever works on the queue next: `insula work`",
    fired: "whoever works on the queue then fires it: `insula work`",
};

impl Here {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }

    fn scope(&self) -> Result<UserScope, Stop> {
        identity::caller(&self.settings)
    }

    /// An engine on the database, which is made if there is none.
    async fn engine(&self) -> Result<ExecutionEngineFactory, Stop> {
        wiring::factory(&self.settings).await
    }

    /// An engine on the database; `None` when there is none yet, and with it nothing to be found.
    async fn existing(&self) -> Result<Option<ExecutionEngineFactory>, Stop> {
        if wiring::has_database(&self.settings)? { self.engine().await.map(Some) } else { Ok(None) }
    }

    /// The database for reading; `None` when there is none yet.
    async fn reading(&self) -> Result<Option<Backend>, Stop> {
        wiring::existing(&self.settings).await
    }
}

fn request(wish: Wish) -> RunRequest {
    let mut request = RunRequest::new(wish.agent, wish.input).policy(wish.policy).priority(wish.priority);
    if let Some(thread) = wish.thread {
        request = request.thread(thread);
    }
    if let Some(run) = wish.run {
        request = request.run(run);
    }
    if let Some(delay) = wish.delay {
        request = request.delay(delay);
    }
    if let Some(timeout) = wish.timeout {
        request = request.timeout(timeout);
    }
    match wish.key {
        Some(key) => request.idempotency_key(key),
        None => request,
    }
}

/// A page of records as the wire has it.
fn page<T: Serialize>(page: insula_infra::Page<T>) -> Result<Page, Stop> {
    Ok(Page { items: json(&page.items)?, next: page.next })
}

fn json<T: Serialize>(items: &[T]) -> Result<Vec<Json>, Stop> {
    Ok(items.iter().map(Json::of).collect::<Result<_, _>>()?)
}

/// The JSON of what is there.
fn found<T: Serialize>(found: Option<T>) -> Result<Option<Json>, Stop> {
    Ok(found.as_ref().map(Json::of).transpose()?)
}

fn first(limit: usize) -> PageRequest {
    PageRequest { cursor: None, limit }
}

fn reason(why: &str) -> CancelReason {
    CancelReason::new("user", why)
}

fn filter(filter: &Filter) -> RunFilter {
    let Filter { thread, status, agent } = filter.clone();
    RunFilter { thread, status, agent, parent: None }
}

#[async_trait]
impl Island for Here {
    async fn owner(&self) -> String {
        format!("{}/{}", self.settings.tenant, self.settings.user)
    }

    fn words(&self) -> &'static Words {
        &WORDS
    }

    async fn agents(&self) -> Result<Vec<Json>, Stop> {
        let registry = catalog::agents()?;
        Ok(registry.classes().map(Json::of).collect::<Result<_, _>>()?)
    }

    async fn run(&self, run: &RunId, wish: Wish, stop: Cancellation) -> Result<Telling<'_>, Stop> {
        let (scope, factory) = (self.scope()?, self.engine().await?);
        running::run(&factory, scope, run, wish, stop).await
    }

    async fn submit(&self, wish: Wish) -> Result<Json, Stop> {
        let (scope, factory) = (self.scope()?, self.engine().await?);
        let run = factory.enqueue(&scope, request(wish)).await?;
        let record = factory.backend().runs.run(&scope, &run).await?;
        // Whoever deleted it meanwhile wanted it gone.
        Ok(found(record)?.map_or_else(|| Json::of(&json!({"run_id": run})), Ok)?)
    }

    async fn runs(&self, wanted: &Filter, most: usize) -> Result<Page, Stop> {
        let scope = self.scope()?;
        match self.reading().await? {
            Some(backend) => page(backend.runs.runs(&scope, &filter(wanted), &first(most)).await?),
            None => Ok(Page::default()),
        }
    }

    async fn again(&self, run: &RunId) -> Result<Option<Wish>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        let Some(record) = factory.backend().runs.run(&scope, run).await? else { return Ok(None) };
        if !record.status.is_terminal() {
            return Err(insula_engine::Error::NotEnded { run: run.clone(), status: record.status }.into());
        }
        let input = factory.whole(&scope, &record.input).await?;
        let (agent, thread) = (record.header.agent.to_string(), Some(record.header.thread.clone()));
        Ok(Some(Wish { agent, input, thread, ..Wish::default() }))
    }

    async fn tail(&self, run: &RunId, patience: Patience) -> Result<Option<Telling<'_>>, Stop> {
        let (scope, Some(backend)) = (self.scope()?, self.reading().await?) else { return Ok(None) };
        let record = backend.runs.run(&scope, run).await?;
        Ok(record.map(|record| reading::tail(backend, record, patience)))
    }

    async fn cancel(&self, run: &RunId, why: &str) -> Result<Option<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        let outcome = factory.cancel(&scope, run, reason(why)).await?;
        found(Some(json!({"run_id": run, "cancel": outcome})))
    }

    async fn cancel_all(&self, wanted: &Filter, why: &str) -> Result<Vec<String>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(Vec::new()) };
        let runs = factory.cancel_all(&scope, &filter(wanted), reason(why)).await?;
        Ok(runs.iter().map(ToString::to_string).collect())
    }

    async fn export(&self, run: &RunId, part: Part) -> Result<Option<BoxStream<'_, Result<String, Stop>>>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        let Some(export) = factory.export(&scope, run, part).await? else { return Ok(None) };
        let line = async |mut export: Export| Ok(export.next_line().await?.map(|line| (line, export)));
        Ok(Some(stream::try_unfold(export, line).boxed()))
    }

    async fn import(&self, file: RunFile, thread: Option<&ThreadId>) -> Result<Json, Stop> {
        let imported = self.engine().await?.import(&self.scope()?, &file.archive, thread.cloned()).await?;
        Ok(Json::of(&imported)?)
    }

    async fn replay(&self, run: &RunId) -> Result<Option<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        found(factory.replay(&scope, run).await?)
    }

    async fn threads(&self, most: usize) -> Result<Page, Stop> {
        let scope = self.scope()?;
        match self.reading().await? {
            Some(backend) => page(backend.runs.threads(&scope, &first(most)).await?),
            None => Ok(Page::default()),
        }
    }

    async fn thread_events(&self, thread: &ThreadId, after: u64) -> Result<Option<Telling<'_>>, Stop> {
        let (scope, Some(backend)) = (self.scope()?, self.reading().await?) else { return Ok(None) };
        let is_there = backend.log.thread_events(&scope, thread, after, 1).await?.is_some();
        Ok(is_there.then(|| reading::thread(&backend, &scope, thread, after)))
    }

    async fn fork(&self, thread: &ThreadId, seq: u64, into: Option<ThreadId>) -> Result<Option<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        found(factory.fork(&scope, thread, seq, into).await?)
    }

    async fn delete_thread(&self, thread: &ThreadId) -> Result<Option<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        found(factory.delete_thread(&scope, thread).await?)
    }

    async fn delete_user(&self) -> Result<Json, Stop> {
        let deleted = match (self.scope()?, self.existing().await?) {
            (scope, Some(factory)) => factory.delete_user(&scope).await?,
            (_, None) => Deleted::default(),
        };
        Ok(Json::of(&deleted)?)
    }

    async fn inbox(&self, run: Option<&RunId>, most: usize) -> Result<Page, Stop> {
        let scope = self.scope()?;
        match self.reading().await? {
            Some(backend) => page(backend.inbox.questions(&scope, run, &first(most)).await?),
            None => Ok(Page::default()),
        }
    }

    async fn answer(&self, run: &RunId, question: Option<u32>, answer: Value) -> Result<Option<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        let given = match question {
            Some(index) => AnswerTo::question(index, answer),
            None => AnswerTo::the_oldest(answer),
        };
        let outcome = factory.answer(&scope, run, given.by(scope.user().as_str())).await?;
        found(outcome.map(|outcome| json!({"run_id": run, "answer": outcome})))
    }

    async fn schedules(&self) -> Result<Vec<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(Vec::new()) };
        json(&factory.schedules(&scope).await?)
    }

    async fn schedule(&self, schedule: Schedule) -> Result<Json, Stop> {
        let kept = self.engine().await?.schedule(&self.scope()?, schedule).await?;
        Ok(Json::of(&kept)?)
    }

    async fn turn(&self, schedule: &str, turn: Turn) -> Result<Option<Json>, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(None) };
        found(match turn {
            Turn::Pause => factory.pause_schedule(&scope, schedule).await?,
            Turn::Resume => factory.resume_schedule(&scope, schedule).await?,
        })
    }

    async fn unschedule(&self, schedule: &str) -> Result<bool, Stop> {
        let (scope, Some(factory)) = (self.scope()?, self.existing().await?) else { return Ok(false) };
        Ok(factory.unschedule(&scope, schedule).await?)
    }
}
