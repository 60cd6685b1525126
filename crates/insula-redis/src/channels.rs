//! Messages between the parts of one user's work, on whatever node they are. Nothing is kept.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use fred::{clients::SubscriberClient, interfaces::PubsubInterface};
use insula_infra::{CacheSubscription, Error};
use tokio::sync::broadcast;

use crate::link::Link;

/// How many messages a listener may fall behind.
const BACKLOG: usize = 64;

/// What is listened to on this node.
#[derive(Debug)]
pub(crate) struct Channels {
    link: Arc<Link>,
    subscriber: SubscriberClient,
    senders: Mutex<HashMap<String, broadcast::Sender<Bytes>>>,
    /// Held while Redis is told: an end of one listening must not overtake the beginning of the next.
    turn: tokio::sync::Mutex<()>,
}

impl Channels {
    pub(crate) fn new(link: Arc<Link>, subscriber: SubscriberClient) -> Self {
        Self { link, subscriber, senders: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    pub(crate) fn subscriber(&self) -> &SubscriberClient {
        &self.subscriber
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, broadcast::Sender<Bytes>>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message to whoever listens here.
    pub(crate) fn deliver(&self, channel: &str, message: Bytes) {
        if let Some(sender) = self.lock().get(channel) {
            // Nobody listens any more: the next sweep ends it.
            let _unheard = sender.send(message);
        }
    }

    /// Listens, and returns when Redis has said that it will send.
    pub(crate) async fn subscribe(&self, channel: String) -> Result<CacheSubscription, Error> {
        let _turn = self.turn.lock().await;
        let (receiver, known) = {
            let mut senders = self.lock();
            let known = senders.contains_key(&channel);
            let sender = senders.entry(channel.clone()).or_insert_with(|| broadcast::Sender::new(BACKLOG));
            (sender.subscribe(), known)
        };
        let answer = self.link.ask("subscribe", self.subscriber.subscribe(channel.clone())).await;
        if answer.is_err() && !known {
            self.lock().remove(&channel);
        }
        answer.map(|()| CacheSubscription::new(receiver))
    }

    /// Ends the listening to what nobody here listens to any more.
    pub(crate) async fn sweep(&self) {
        let _turn = self.turn.lock().await;
        let idle: Vec<String> = {
            let senders = self.lock();
            senders.iter().filter(|(_, sender)| sender.receiver_count() == 0).map(|(name, _)| name.clone()).collect()
        };
        if idle.is_empty() || self.link.ask("unsubscribe", self.subscriber.unsubscribe(idle.clone())).await.is_err() {
            return;
        }
        let mut senders = self.lock();
        idle.iter().for_each(|name| drop(senders.remove(name)));
    }

    /// How many channels are listened to.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}
