//! The store's own tasks: they keep the connections, send news and hear them. Nobody waits for them.

use std::{sync::Arc, time::Duration};

use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message as Heard, Value},
};
use insula_infra::Signals;
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    task::JoinSet,
};

use crate::{
    channels::Channels,
    link::Link,
    news::{Counters, Message, Outbox, about},
};

/// What the tasks share.
pub(crate) struct Keeper {
    pub(crate) link: Arc<Link>,
    pub(crate) subscriber: SubscriberClient,
    pub(crate) channels: Arc<Channels>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) counters: Arc<Counters>,
    /// Of the backend below: whoever listens on this node.
    pub(crate) signals: Arc<dyn Signals>,
    /// The channel of the nodes.
    pub(crate) channel: String,
    pub(crate) node: String,
    pub(crate) shown: String,
    pub(crate) look_every: Duration,
    /// Somebody missed something: at the next look, everybody is woken, once.
    pub(crate) missed: Notify,
}

/// Starts the tasks. They end when the set is dropped.
pub(crate) fn start(keeper: Keeper) -> JoinSet<()> {
    let keeper = Arc::new(keeper);
    let mut tasks = JoinSet::new();
    // Before anything is subscribed to, so that the first message has a reader.
    let (heard, reconnected) = (keeper.subscriber.message_rx(), keeper.subscriber.reconnect_rx());
    tasks.spawn(connect(keeper.link.client.clone(), keeper.link.answer_within));
    tasks.spawn(connect(keeper.subscriber.clone(), keeper.link.answer_within));
    tasks.spawn(Arc::clone(&keeper).look());
    tasks.spawn(Arc::clone(&keeper).send());
    tasks.spawn(Arc::clone(&keeper).hear(heard));
    tasks.spawn(Arc::clone(&keeper).listen_again(reconnected));
    tasks.spawn(keeper.wake());
    tasks
}

/// Keeps a client at work. It reconnects by itself; where it gave up, as after a refused password, it is started anew.
async fn connect<C: ClientLike>(client: C, pause: Duration) {
    loop {
        let ended = client.connect().await;
        tracing::debug!(?ended, "a connection to Redis has ended");
        tokio::time::sleep(pause).await;
    }
}

impl Keeper {
    /// Asks again and again whether Redis answers, on both connections.
    async fn look(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.look_every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.probe().await {
                Ok(()) if self.link.found() => self.back().await,
                Ok(()) => self.channels.sweep().await,
                Err(why) => self.away(why),
            }
        }
    }

    /// To subscribe once more changes nothing, and is answered only by a connection that works.
    async fn probe(&self) -> Result<(), String> {
        let within = self.link.answer_within;
        let both = async {
            tokio::try_join!(self.link.client.ping::<()>(None), self.subscriber.subscribe(self.channel.clone()))
        };
        match tokio::time::timeout(within, both).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {within:?}")),
        }
    }

    fn away(&self, why: String) {
        if self.link.lost(why.clone()) {
            tracing::warn!(redis = self.shown, why, "Redis is away: other nodes' news, the cache and shared rates are");
        }
        self.outbox.drop_unsent();
    }

    async fn back(&self) {
        tracing::info!(redis = self.shown, "Redis answers");
        self.listen_to_all().await;
        self.outbox.retry();
    }

    /// Listens to everything anew, and only then has everybody look: what was said before may have been missed.
    async fn listen_to_all(&self) {
        if let Err(error) = self.subscriber.resubscribe_all().await {
            self.away(error.to_string());
            return;
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        Counters::add(&self.counters.woken, 1);
        self.signals.wake_all();
    }

    /// A connection was lost and made anew, perhaps between two looks.
    async fn listen_again(
        self: Arc<Self>,
        mut reconnected: tokio::sync::broadcast::Receiver<fred::types::config::Server>,
    ) {
        while !matches!(reconnected.recv().await, Err(RecvError::Closed)) {
            self.listen_to_all().await;
        }
    }

    /// Sends what there is to tell, one message at a time; what comes meanwhile goes into the next.
    async fn send(self: Arc<Self>) {
        loop {
            self.outbox.more().await;
            while self.link.is_up()
                && let Some(message) = self.outbox.next(&self.node)
            {
                self.send_one(&message).await;
            }
            if !self.link.is_up() {
                self.outbox.drop_unsent();
            }
        }
    }

    async fn send_one(&self, message: &Message) {
        let Ok(text) = serde_json::to_string(message) else { return };
        let publish = self.link.client.publish::<i64, _, _>(self.channel.clone(), text);
        match self.link.ask("publish", publish).await {
            Ok(_) => Counters::add(&self.counters.sent, message.news.len()),
            Err(_) => self.outbox.drop_all(),
        }
    }

    async fn hear(self: Arc<Self>, mut heard: tokio::sync::broadcast::Receiver<Heard>) {
        loop {
            match heard.recv().await {
                Ok(message) if message.channel == self.channel => self.pass_on(&message.value),
                Ok(message) => self.deliver(message),
                Err(RecvError::Lagged(_)) => self.missed.notify_one(),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn deliver(&self, message: Heard) {
        if let Some(bytes) = message.value.into_bytes() {
            self.channels.deliver(&message.channel, bytes);
        }
    }

    fn pass_on(&self, value: &Value) {
        let Some(message) = value.as_bytes().and_then(|bytes| serde_json::from_slice::<Message>(bytes).ok()) else {
            return;
        };
        // Who listens here was told when it happened.
        if message.node == self.node {
            return;
        }
        Counters::add(&self.counters.heard, message.news.len());
        for (tenant, user, thread, head) in &message.news {
            if let Some((scope, thread)) = about(tenant, user, thread) {
                self.signals.pass_on(&scope, &thread, *head);
            }
        }
        if message.missed {
            self.missed.notify_one();
        }
    }

    /// Wakes everybody when another node has dropped news. However many say so, it is done once per look.
    async fn wake(self: Arc<Self>) {
        loop {
            self.missed.notified().await;
            self.wake_all();
            tokio::time::sleep(self.look_every).await;
        }
    }
}
