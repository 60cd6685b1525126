//! Streams of events. A connection that is lost is made again, from the last event that was read on.

use std::time::Duration;

use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue},
};
use serde::Deserialize;

use crate::{
    Client, Error, Json,
    sse::{Frame, Parser},
    wire::header,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

/// What a stream says.
#[derive(Debug)]
pub enum Item {
    /// The next event.
    Event {
        /// Its place in its conversation.
        seq: u64,
        /// The event.
        event: Json,
    },
    /// Events with `after < seq < next` are not kept any more.
    Gap {
        /// The last one before.
        after: u64,
        /// The first one behind.
        next: u64,
    },
    /// The connection is lost, and is being made again.
    Lost(Error),
    /// It is there again.
    Back,
}

/// Events in order, each once, from a place on. Whatever happens to the connection, none is left out and none comes twice.
#[derive(Debug)]
pub struct Events {
    client: Client,
    path: Vec<String>,
    /// The last `seq` that was given out.
    cursor: u64,
    connection: Option<Response>,
    parser: Parser,
    /// How often it was opened since the last sign of life.
    opened: usize,
    /// This connection has said something: servers greet, and that alone is no sign of life.
    greeted: bool,
    /// How long the server wants to be left alone.
    asked: Duration,
    lost: bool,
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

#[derive(Deserialize)]
struct Gap {
    after: u64,
    next: u64,
}

/// What came of a step.
enum Step {
    On,
    Back,
    Over,
}

impl Client {
    /// The events at a path with `seq > after`, and those that follow: of a run up to its end, of a conversation for ever.
    /// It connects with the first call of [`Events::next`].
    ///
    /// # Errors
    /// [`Error::Id`].
    pub fn follow(&self, path: &[&str], after: u64) -> Result<Events, Error> {
        self.request(Method::GET, path, &[])?;
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        let (connection, parser, opened, greeted, asked, lost) = Default::default();
        Ok(Events { client: self.clone(), path, cursor: after, connection, parser, opened, greeted, asked, lost })
    }
}

impl Events {
    /// The next item; `None` when the run has ended and everything was read. A call that is dropped loses nothing but a
    /// connection that was just being made.
    ///
    /// # Errors
    /// At once what no repetition changes, and otherwise when the stream was opened as often as
    /// [`Patience::openings`](crate::Patience::openings) says and nothing came. The next call tries again.
    pub async fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            while let Some(frame) = self.parser.frame() {
                if std::mem::replace(&mut self.greeted, true) || frame != Frame::Comment {
                    self.opened = 0;
                }
                if let Frame::Event { name, data } = frame
                    && let Some(item) = self.take(&name, &data)?
                {
                    return Ok(Some(item));
                }
            }
            let stepped = if self.connection.is_some() { self.read().await } else { self.open().await };
            match stepped {
                Ok(Step::On) => {}
                Ok(Step::Back) => return Ok(Some(Item::Back)),
                Ok(Step::Over) => return Ok(None),
                Err(error) => {
                    self.forget();
                    let said = self.lose(error)?;
                    if said.is_some() {
                        return Ok(said);
                    }
                }
            }
        }
    }

    /// What an event of the stream means, unless it was given out before.
    fn take(&mut self, name: &str, data: &str) -> Result<Option<Item>, Error> {
        let event = Json::parse(data)?;
        if name == "gap" {
            let Gap { after, next } = event.read()?;
            return Ok(self.skip(after, next));
        }
        let Numbered { seq } = event.read()?;
        if seq <= self.cursor {
            return Ok(None);
        }
        self.cursor = seq;
        Ok(Some(Item::Event { seq, event }))
    }

    /// A gap in which nothing is missing says that the server reads on from its log.
    fn skip(&mut self, after: u64, next: u64) -> Option<Item> {
        let after = after.max(self.cursor);
        if next <= after + 1 {
            return None;
        }
        self.cursor = next - 1;
        Some(Item::Gap { after, next })
    }

    /// Opens the stream where it was left: at once the first time, and after the server has ended it in good order.
    async fn open(&mut self) -> Result<Step, Error> {
        if self.opened > 0 {
            tokio::time::sleep(self.asked.max(self.client.patience.before_opening(self.opened + 1))).await;
        }
        self.opened += 1;
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let mut request = self.client.request(Method::GET, &path, &[])?;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        request.headers_mut().insert(LAST_EVENT_ID, HeaderValue::from(self.cursor));
        let response = self.client.once(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Step::Over);
        }
        if !header(&response, CONTENT_TYPE).is_some_and(|kind| kind.starts_with(EVENT_STREAM)) {
            let (server, status) = (self.client.server().to_owned(), response.status().as_u16());
            return Err(Error::Strange { server, status });
        }
        (self.connection, self.greeted) = (Some(response), false);
        Ok(if std::mem::take(&mut self.lost) { Step::Back } else { Step::On })
    }

    async fn read(&mut self) -> Result<Step, Error> {
        let Some(connection) = &mut self.connection else { return Ok(Step::On) };
        let silent = || Error::Silent { server: self.client.server().to_owned() };
        let read = tokio::time::timeout(self.client.patience.silence, connection.chunk()).await;
        match read.map_err(|_| silent())?.map_err(|source| self.client.unreachable(source))? {
            Some(piece) => self.parser.push(&piece)?,
            None if self.opened > 0 => return Err(silent()),
            None => self.forget(),
        }
        Ok(Step::On)
    }

    /// The connection, and what was only half read.
    fn forget(&mut self) {
        self.connection = None;
        self.parser = Parser::default();
    }

    /// Says once that the connection is lost; fails when it does not come back.
    fn lose(&mut self, error: Error) -> Result<Option<Item>, Error> {
        if !error.is_transient() || self.opened >= self.client.patience.openings {
            self.opened = 0;
            return Err(error);
        }
        self.opened = self.opened.max(1);
        let asked = error.problem().and_then(|problem| problem.retry_after).unwrap_or_default();
        self.asked = asked.min(self.client.patience.longest_pause);
        let was_lost = std::mem::replace(&mut self.lost, true);
        Ok((!was_lost).then_some(Item::Lost(error)))
    }
}
