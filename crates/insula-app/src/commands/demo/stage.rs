//! Runs everybody at once, and shows what their readers read.

use std::time::Duration;

use insula_context::{CancelReason, Canceller};
use insula_engine::{EventStream, ExecutionEngineFactory, StreamItem};
use insula_infra::Event;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::{AbortHandle, JoinSet},
};

use super::{super::Desk, cast::User};
use crate::{exit::Stop, interrupt::Interrupt, view::Crowd};

/// The agent that everybody runs.
const AGENT: &str = "spend-report";

/// What remains when everybody has ended.
pub(super) struct Played {
    /// What each user's reader was given, in the order of the users.
    pub(super) read: Vec<Vec<Event>>,
    /// Runs that were refused: the user, and why.
    pub(super) refused: Vec<(usize, String)>,
    pub(super) interrupted: bool,
}

/// Somebody's news.
enum News {
    Event(usize, Event),
    /// The user's run is over, or never began.
    Ended(usize, Result<(), String>),
}

/// Runs everybody at once.
pub(super) async fn play(
    desk: &Desk<'_>,
    factory: &ExecutionEngineFactory,
    cast: &[User],
    (mut interrupt, stop): (Interrupt, Canceller),
) -> Result<Played, Stop> {
    let (sender, mut news) = unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut readers = Vec::new();
    for (n, user) in cast.iter().enumerate() {
        // Each reader has its own cursor in its own user's log, and is there before anything is written.
        let events = factory.events(&user.scope, user.context.thread(), 0);
        readers.push(tasks.spawn(read(n, events, user, sender.clone())));
    }
    for (n, user) in cast.iter().enumerate() {
        tasks.spawn(run(n, factory.clone(), user, sender.clone()));
    }
    drop(sender);
    let names = cast.iter().map(|user| (user.name.to_owned(), user.context.run().to_string()));
    let mut crowd = Crowd::new(names, desk.output);
    let read = cast.iter().map(|_| Vec::new()).collect();
    let mut played = Played { read, refused: Vec::new(), interrupted: false };
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            item = news.recv() => match item {
                Some(item) => played.take(item, &mut crowd, &readers),
                None => break,
            },
            _ = tick.tick() => crowd.tick(),
            () = interrupt.asked() => {
                played.interrupted = true;
                stop.cancel(CancelReason::new("user", "interrupted at the terminal"));
            }
        }
    }
    crowd.finish();
    Ok(played)
}

impl Played {
    fn take(&mut self, news: News, crowd: &mut Crowd, readers: &[AbortHandle]) {
        match news {
            News::Event(user, event) => {
                crowd.show(user, &(&event).into());
                self.read[user].push(event);
            }
            News::Ended(_, Ok(())) => {}
            News::Ended(user, Err(why)) => {
                self.refused.push((user, why));
                // Its reader would wait for ever for a run that never began.
                readers[user].abort();
            }
        }
    }
}

/// Runs one user's agent in an engine of their own, which is gone when this returns.
fn run(
    n: usize,
    factory: ExecutionEngineFactory,
    user: &User,
    news: UnboundedSender<News>,
) -> impl Future<Output = ()> + use<> {
    let (context, file) = (user.context.clone(), user.file.clone());
    async move {
        let ended = async {
            let engine = factory.create_for_user(&context)?;
            engine.execute_agent(&context, AGENT, file.into()).await
        };
        let ended = Box::pin(ended).await.map(|_| ()).map_err(|error| error.to_string());
        let _ = news.send(News::Ended(n, ended));
    }
}

/// Hands on one user's events until their run ends.
fn read(
    n: usize,
    mut stream: EventStream,
    user: &User,
    news: UnboundedSender<News>,
) -> impl Future<Output = ()> + use<> {
    let run = user.context.run().clone();
    async move {
        loop {
            match stream.next().await {
                Ok(Some(StreamItem::Event(event))) => {
                    let is_last = event.header.run == run && event.kind.is_terminal();
                    if news.send(News::Event(n, event)).is_err() || is_last {
                        return;
                    }
                }
                Ok(Some(StreamItem::Gap { .. })) => {}
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "a user's events cannot be read just now");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}
