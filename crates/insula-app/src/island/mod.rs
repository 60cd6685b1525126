//! Where a command is done: on the database of this machine, or by a server. Commands ask an [`Island`] and print what it
//! says, which is the JSON of the wire in both cases; nothing behind them knows the difference.
//!
//! What is not there is `None`, whoever would have it.

mod account;
mod here;
mod shapes;
mod there;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use insula_client::{Json, Page};
use insula_context::{Cancellation, RunId, ThreadId};
use insula_engine::{Archive, Part, Schedule, ThreadPolicy};
use insula_infra::RunStatus;
use serde::Serialize;
use serde_json::Value;

use crate::{config::Settings, exit::Stop};
pub(crate) use account::{Account, KeyOrder, Named, Reach, Verdict, Whose};
use here::Here;
pub(crate) use shapes::{Agent, Conversation, Event, Need, Planned, Question, Run};
pub(crate) use there::There;

/// What a stream of a command says.
#[derive(Debug)]
pub(crate) enum Told {
    /// An event, as it is on the wire.
    Event(Json),
    /// Events with `after < seq < next` are not kept any more.
    Gap { after: u64, next: u64 },
    /// Something about the way to the server.
    Note(String),
    /// The run that was asked for has ended; the last thing that is said of it.
    Ended(Box<Outcome>),
}

/// What is said, in order. Dropping it stops what it stands for, where nobody else holds it.
pub(crate) type Telling<'a> = BoxStream<'a, Result<Told, Stop>>;

/// A run that is wanted, and on what terms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub agent: String,
    pub input: Value,
    pub thread: Option<ThreadId>,
    pub run: Option<RunId>,
    pub policy: ThreadPolicy,
    pub priority: i16,
    pub delay: Option<Duration>,
    pub timeout: Option<Duration>,
    /// A second submission with the same key answers with the first one's run.
    pub key: Option<String>,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    pub run_id: String,
    pub thread_id: String,
    pub agent: String,
    pub status: String,
    /// `completed`, `cancelled`, or the reason of a failure.
    pub reason: String,
    pub message: Option<String>,
    pub result: Option<Value>,
    pub usage: Value,
    pub duration_ms: f64,
}

/// Which runs are meant; an empty filter means all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub thread: Option<ThreadId>,
    pub status: Option<RunStatus>,
    pub agent: Option<String>,
}

/// A file of runs: its bytes, and what was read of them.
pub(crate) struct RunFile {
    pub bytes: Vec<u8>,
    pub archive: Archive,
}

/// Whether a reader waits for what is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until the run has ended.
    ToTheEnd,
    WhatIsThere,
}

/// What becomes of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Pause,
    Resume,
}

/// What differs in what is said beside results.
#[derive(Debug)]
pub(crate) struct Words {
    /// How one comes to what is somebody else's.
    pub whose: &'static str,
    /// Who works on what is submitted.
    pub picked_up: &'static str,
    /// Who stops what is to be stopped.
    pub obeyed: &'static str,
    /// Who fires a schedule.
    pub fired: &'static str,
}

/// Everything that commands have done for a user.
#[async_trait]
pub(crate) trait Island: Account {
    /// Who the user is, for what is said.
    async fn owner(&self) -> String;

    /// What is said beside results.
    fn words(&self) -> &'static Words;

    /// The agents that can be run.
    async fn agents(&self) -> Result<Vec<Json>, Stop>;

    /// Runs a run under this id, tells what happens in it and in those below it, and how it ended. A stop is its cancellation, whose end
    /// is waited for.
    async fn run(&self, run: &RunId, wish: Wish, stop: Cancellation) -> Result<Telling<'_>, Stop>;

    /// Hands a run to the queue, and answers with it.
    async fn submit(&self, wish: Wish) -> Result<Json, Stop>;

    async fn runs(&self, filter: &Filter, most: usize) -> Result<Page, Stop>;

    /// What it would take to run a run again.
    async fn again(&self, run: &RunId) -> Result<Option<Wish>, Stop>;

    /// The events of a run's conversation, from the first one on.
    async fn tail(&self, run: &RunId, patience: Patience) -> Result<Option<Telling<'_>>, Stop>;

    /// Says what became of it as `{run_id, cancel}`.
    async fn cancel(&self, run: &RunId, reason: &str) -> Result<Option<Json>, Stop>;

    /// Says which runs are being stopped.
    async fn cancel_all(&self, filter: &Filter, reason: &str) -> Result<Vec<String>, Stop>;

    async fn export(&self, run: &RunId, part: Part) -> Result<Option<BoxStream<'_, Result<String, Stop>>>, Stop>;

    /// Says what was taken in as `{run_id, thread_id, runs, events}`.
    async fn import(&self, file: RunFile, thread: Option<&ThreadId>) -> Result<Json, Stop>;

    async fn replay(&self, run: &RunId) -> Result<Option<Json>, Stop>;

    async fn threads(&self, most: usize) -> Result<Page, Stop>;

    /// The events of a conversation with `seq > after` that are there now.
    async fn thread_events(&self, thread: &ThreadId, after: u64) -> Result<Option<Telling<'_>>, Stop>;

    /// The new conversation.
    async fn fork(&self, thread: &ThreadId, seq: u64, into: Option<ThreadId>) -> Result<Option<Json>, Stop>;

    /// Says how much was deleted as `{threads, runs}`.
    async fn delete_thread(&self, thread: &ThreadId) -> Result<Option<Json>, Stop>;

    /// Everything of the user. Answers as [`Island::delete_thread`].
    async fn delete_user(&self) -> Result<Json, Stop>;

    /// Open questions.
    async fn inbox(&self, run: Option<&RunId>, most: usize) -> Result<Page, Stop>;

    /// Says what became of it as `{run_id, answer}`.
    async fn answer(&self, run: &RunId, question: Option<u32>, answer: Value) -> Result<Option<Json>, Stop>;

    async fn schedules(&self) -> Result<Vec<Json>, Stop>;

    async fn schedule(&self, schedule: Schedule) -> Result<Json, Stop>;

    async fn turn(&self, schedule: &str, turn: Turn) -> Result<Option<Json>, Stop>;

    /// Says whether there was one.
    async fn unschedule(&self, schedule: &str) -> Result<bool, Stop>;
}

/// The island that the settings name.
///
/// # Errors
/// When the server's address or the key is none.
pub(crate) fn of(settings: &Settings) -> Result<Box<dyn Island>, Stop> {
    match &settings.server {
        Some(server) => Ok(Box::new(There::new(server)?)),
        None => Ok(Box::new(Here::new(settings.clone()))),
    }
}
