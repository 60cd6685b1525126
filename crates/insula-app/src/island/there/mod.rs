//! Commands done by a server.

mod account;
mod reading;
mod refusals;
mod running;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use insula_client::{Client, Json, Lines, Method, Page};
use insula_context::{Cancellation, RunId, ThreadId};
use insula_engine::{Part, Schedule};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Filter, Island, Patience, Run, RunFile, Telling, Turn, Wish, Words};
use crate::{config::Server, exit::Stop};
use refusals::{absent, answered_before, for_agent, for_schedule, not_as_asked};

/// A server, for the owner of a key.
pub(crate) struct There {
    pub(crate) client: Client,
}

const WORDS: Words = Words {
    whose: "the key says whose, --server where",
    picked_up: "the server picks it up",
    obeyed: "the server stops it",
    fired: "the server fires it",
};

/// Who the caller is.
#[derive(Deserialize)]
pub(crate) struct Me {
    pub tenant_id: String,
    pub user_id: String,
}

impl There {
    pub(crate) fn new(server: &Server) -> Result<Self, Stop> {
        Ok(Self { client: Client::new(&server.address, &server.key()?)? })
    }

    pub(crate) async fn me(&self) -> Result<Me, Stop> {
        Ok(self.client.get(&["me"], &[]).await?.read()?)
    }

    async fn run_of(&self, run: &RunId) -> Result<Option<Run>, Stop> {
        let run = absent(self.client.get(&["runs", run.as_str()], &[]).await)?;
        Ok(run.map(|run| run.read()).transpose()?)
    }

    /// A request that makes or changes something of one's own; `None` where that is not there.
    async fn ask(&self, method: Method, path: &[&str], body: Value) -> Result<Option<Json>, Stop> {
        let body = Json::of(&body)?;
        absent(self.client.ask(method, path, &[], Some(&body)).await)
    }
}

impl Filter {
    fn query(&self) -> Vec<(&str, &str)> {
        let thread = self.thread.as_ref().map(|thread| ("thread_id", thread.as_str()));
        let status = self.status.map(|status| ("status", status.as_str()));
        let agent = self.agent.as_deref().map(|agent| ("agent", agent));
        [thread, status, agent].into_iter().flatten().collect()
    }
}

/// The duration as the wire takes it, to the nanosecond.
fn written(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The object without the fields that are not said.
fn said(fields: Value) -> Value {
    match fields {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}

/// A schedule of the wire as the engine writes it, which is how it is shown here.
fn planned(schedule: &Json) -> Result<Json, Stop> {
    let mut fields: Value = schedule.read()?;
    let deadline = fields["deadline"].as_str().and_then(|deadline| humantime::parse_duration(deadline).ok());
    let timeout = deadline.map(|deadline| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX));
    if let Value::Object(fields) = &mut fields {
        fields.retain(|field, _| field != "deadline" && field != "paused");
        fields.insert("timeout_ms".to_owned(), json!(timeout));
    }
    Ok(Json::of(&fields)?)
}

impl Wish {
    fn body(&self) -> Value {
        let mut body = said(json!({
            "agent": self.agent,
            "thread_id": self.thread,
            "run_id": self.run,
            "policy": self.policy,
            "priority": self.priority,
            "delay": self.delay.map(written),
            "deadline": self.timeout.map(written),
        }));
        // `null` is an input as any other.
        body["input"] = self.input.clone();
        body
    }
}

#[async_trait]
impl Island for There {
    async fn owner(&self) -> String {
        match self.me().await {
            Ok(me) => format!("{}/{}", me.tenant_id, me.user_id),
            // What is to be said is said all the same.
            Err(_) => "the owner of this key".to_owned(),
        }
    }

    fn words(&self) -> &'static Words {
        &WORDS
    }

    async fn agents(&self) -> Result<Vec<Json>, Stop> {
        let page: Page = self.client.get(&["agents"], &[]).await?.read()?;
        Ok(page.items)
    }

    async fn run(&self, run: &RunId, wish: Wish, stop: Cancellation) -> Result<Telling<'_>, Stop> {
        // Known before the server knows it, so that it can be stopped whatever becomes of the answer.
        Ok(running::run(self.client.clone(), Wish { run: Some(run.clone()), ..wish }, run.clone(), stop))
    }

    async fn submit(&self, wish: Wish) -> Result<Json, Stop> {
        let submitted = self.client.submit(&wish.body(), wish.key.as_deref()).await;
        submitted.map_err(|error| for_agent(error, &wish))
    }

    async fn runs(&self, filter: &Filter, most: usize) -> Result<Page, Stop> {
        Ok(self.client.list(&["runs"], &filter.query(), most).await?)
    }

    async fn again(&self, run: &RunId) -> Result<Option<Wish>, Stop> {
        let Some(Run { status, agent, thread_id, input, .. }) = self.run_of(run).await? else { return Ok(None) };
        if !status.is_terminal() {
            return Err(insula_engine::Error::NotEnded { run: run.clone(), status }.into());
        }
        Ok(Some(Wish { agent, input, thread: Some(ThreadId::new(thread_id)?), ..Wish::default() }))
    }

    async fn tail(&self, run: &RunId, patience: Patience) -> Result<Option<Telling<'_>>, Stop> {
        let Some(found) = self.run_of(run).await? else { return Ok(None) };
        let waits = patience == Patience::ToTheEnd && !found.status.is_terminal();
        let reading = if waits {
            reading::follow(&self.client, found)?
        } else {
            reading::thread(&self.client, found.thread_id, 0)
        };
        Ok(Some(reading))
    }

    async fn cancel(&self, run: &RunId, reason: &str) -> Result<Option<Json>, Stop> {
        absent(self.client.cancel(run.as_str(), reason).await)
    }

    async fn cancel_all(&self, filter: &Filter, reason: &str) -> Result<Vec<String>, Stop> {
        #[derive(Deserialize)]
        struct Cancelled {
            run_ids: Vec<String>,
        }
        let body = said(json!({"thread_id": filter.thread, "agent": filter.agent, "reason": reason}));
        let body = Json::of(&body)?;
        let cancelled = self.client.ask(Method::POST, &["runs", "cancel"], &[], Some(&body)).await?;
        Ok(cancelled.read::<Cancelled>()?.run_ids)
    }

    async fn export(&self, run: &RunId, part: Part) -> Result<Option<BoxStream<'_, Result<String, Stop>>>, Stop> {
        let query = [("part", "whole")];
        let query = if part == Part::Whole { &query[..] } else { &[] };
        let lines = absent(self.client.lines(&["runs", run.as_str(), "export"], query).await)?;
        let line = async |mut lines: Lines| Ok(lines.next().await?.map(|line| (line, lines)));
        Ok(lines.map(|lines| stream::try_unfold(lines, line).boxed()))
    }

    async fn import(&self, file: RunFile, thread: Option<&ThreadId>) -> Result<Json, Stop> {
        let query = thread.map(|thread| ("thread_id", thread.as_str()));
        let imported = not_as_asked(self.client.import(file.bytes, query.as_slice()).await)?;
        imported.ok_or_else(|| Stop::failed("the server takes no files of runs"))
    }

    async fn replay(&self, run: &RunId) -> Result<Option<Json>, Stop> {
        self.ask(Method::POST, &["runs", run.as_str(), "replay"], json!({})).await
    }

    async fn threads(&self, most: usize) -> Result<Page, Stop> {
        Ok(self.client.list(&["threads"], &[], most).await?)
    }

    async fn thread_events(&self, thread: &ThreadId, after: u64) -> Result<Option<Telling<'_>>, Stop> {
        let found = absent(self.client.get(&["threads", thread.as_str()], &[]).await)?;
        Ok(found.map(|_| reading::thread(&self.client, thread.to_string(), after)))
    }

    async fn fork(&self, thread: &ThreadId, seq: u64, into: Option<ThreadId>) -> Result<Option<Json>, Stop> {
        let body = said(json!({"seq": seq, "thread_id": into}));
        let (path, body) = (["threads", thread.as_str(), "fork"], Json::of(&body)?);
        not_as_asked(self.client.ask(Method::POST, &path, &[], Some(&body)).await)
    }

    async fn delete_thread(&self, thread: &ThreadId) -> Result<Option<Json>, Stop> {
        not_as_asked(self.client.ask(Method::DELETE, &["threads", thread.as_str()], &[], None).await)
    }

    async fn delete_user(&self) -> Result<Json, Stop> {
        let me = self.me().await?;
        Ok(self.client.ask(Method::DELETE, &["me"], &[("confirm", &me.user_id)], None).await?)
    }

    async fn inbox(&self, run: Option<&RunId>, most: usize) -> Result<Page, Stop> {
        let query = run.map(|run| ("run_id", run.as_str()));
        Ok(self.client.list(&["inbox"], query.as_slice(), most).await?)
    }

    async fn answer(&self, run: &RunId, question: Option<u32>, answer: Value) -> Result<Option<Json>, Stop> {
        let mut body = said(json!({"question": question}));
        body["answer"] = answer;
        let body = Json::of(&body)?;
        let answered = self.client.ask(Method::POST, &["runs", run.as_str(), "answer"], &[], Some(&body)).await;
        answered_before(answered, run)
    }

    async fn schedules(&self) -> Result<Vec<Json>, Stop> {
        let page: Page = self.client.get(&["schedules"], &[]).await?.read()?;
        page.items.iter().map(planned).collect()
    }

    async fn schedule(&self, schedule: Schedule) -> Result<Json, Stop> {
        let mut body = said(json!({
            "cron": schedule.cron,
            "zone": schedule.zone,
            "missed": schedule.missed,
            "agent": schedule.agent,
            "thread_id": schedule.thread,
            "policy": schedule.policy,
            "priority": schedule.priority,
            "deadline": schedule.timeout.map(written),
        }));
        body["input"] = schedule.input;
        let (path, body) = (["schedules", &*schedule.name], Json::of(&body)?);
        let kept = self.client.ask(Method::PUT, &path, &[], Some(&body)).await;
        planned(&kept.map_err(for_schedule)?)
    }

    async fn turn(&self, schedule: &str, turn: Turn) -> Result<Option<Json>, Stop> {
        let verb = match turn {
            Turn::Pause => "pause",
            Turn::Resume => "resume",
        };
        let turned = self.ask(Method::POST, &["schedules", schedule, verb], json!({})).await?;
        turned.as_ref().map(planned).transpose()
    }

    async fn unschedule(&self, schedule: &str) -> Result<bool, Stop> {
        let removed = self.client.ask(Method::DELETE, &["schedules", schedule], &[], None).await;
        Ok(absent(removed)?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_schedule_is_shown_as_the_engine_writes_it() {
        let schedule = Schedule::new("digest", "0 9 * * *", "echo", json!({"a": 1})).timeout(Duration::from_secs(90));
        let created_at = insula_context::Timestamp::from_micros(0);
        let kept = insula_engine::Scheduled { schedule, created_at, next_at: None };
        let wire = insula_server::wire::Schedule::from(kept.clone());
        let shown: Value = planned(&Json::of(&wire).expect("JSON")).and_then(|it| Ok(it.read()?)).expect("read");
        let mut expected = json!(kept);
        expected.as_object_mut().expect("an object").remove("thread_id");
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_is_not_said_is_left_out_and_the_input_never() {
        let body = Wish { agent: "echo".to_owned(), timeout: Some(Duration::from_micros(1)), ..Wish::default() }.body();
        let expected = json!({"agent": "echo", "policy": "enqueue", "priority": 0, "deadline": "1us", "input": null});
        assert_eq!(body, expected);
    }
}
