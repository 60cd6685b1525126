//! A server's log: what is there of a conversation, page by page, and what comes.

use std::collections::VecDeque;

use futures::stream::{self, StreamExt};
use insula_client::{Client, Error, Events, Item, Json};
use serde::Deserialize;

use super::super::{Event, Run, Telling, Told};
use crate::exit::{Stop, root};

/// How many events are asked for at once.
const PAGE: &str = "1000";

/// What is there of a conversation.
pub(super) fn thread(client: &Client, thread: String, after: u64) -> Telling<'static> {
    telling(Reading { log: Log::new(client, thread, after), following: None })
}

/// The conversation of a run from its start, until the run has ended.
pub(super) fn follow(client: &Client, run: Run) -> Result<Telling<'static>, Stop> {
    let events = client.follow(&["threads", &run.thread_id, "events"], 0)?;
    let log = Log::new(client, run.thread_id, 0);
    Ok(telling(Reading { log, following: Some((events, run.run_id)) }))
}

fn telling(reading: Reading) -> Telling<'static> {
    let next = async |mut reading: Reading| Ok(reading.next().await?.map(|told| (told, reading)));
    stream::try_unfold(reading, next).boxed()
}

struct Reading {
    log: Log,
    /// The stream, and the run whose end is waited for.
    following: Option<(Events, String)>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Told>, Stop> {
        let Some((events, run)) = &mut self.following else { return self.log.next().await };
        let Some(item) = events.next().await? else { return Ok(None) };
        if let Item::Event { seq, event } = &item
            && event.read::<Event>()?.ends(run)
        {
            // What the children said last comes behind it.
            self.log.after = *seq;
            self.following = None;
        }
        Ok(Some(told(item)))
    }
}

pub(super) fn told(item: Item) -> Told {
    match item {
        Item::Event { event, .. } => Told::Event(event),
        Item::Gap { after, next } => Told::Gap { after, next },
        Item::Lost(error) => Told::Note(lost(&error)),
        Item::Back => Told::Note("the connection is there again".to_owned()),
    }
}

fn lost(error: &Error) -> String {
    let cause = root(error).map(|cause| format!(" ({cause})")).unwrap_or_default();
    format!("the connection is lost: {error}{cause}; trying again")
}

/// The events of a conversation that are there.
pub(super) struct Log {
    client: Client,
    thread: String,
    pub(super) after: u64,
    ready: VecDeque<Told>,
    is_read: bool,
}

#[derive(Deserialize)]
struct EventPage {
    events: Vec<Json>,
    #[serde(default)]
    next: Option<u64>,
    #[serde(default)]
    gap: Option<Gap>,
}

#[derive(Deserialize)]
struct Gap {
    after: u64,
    next: u64,
}

impl Log {
    pub(super) fn new(client: &Client, thread: String, after: u64) -> Self {
        Self { client: client.clone(), thread, after, ready: VecDeque::new(), is_read: false }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Told>, Stop> {
        while self.ready.is_empty() && !self.is_read {
            let (path, after) = (["threads", &self.thread, "events"], self.after.to_string());
            let page = self.client.get(&path, &[("after", &after), ("limit", PAGE)]).await?;
            let EventPage { events, next, gap } = page.read()?;
            self.ready.extend(gap.map(|Gap { after, next }| Told::Gap { after, next }));
            self.ready.extend(events.into_iter().map(Told::Event));
            self.is_read = next.is_none_or(|next| next <= self.after);
            self.after = next.unwrap_or(self.after);
        }
        Ok(self.ready.pop_front())
    }
}
